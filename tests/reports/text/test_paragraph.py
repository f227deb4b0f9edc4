"""Paragraphs break between words, and commands so that they can still be copied."""

import shlex

from reports.text.paragraph import paragraph, shell_command

COMMAND = "python run_bench.py choose --tune --device cpu --lengths 256,512 --out 'a b.json'"


def test_a_paragraph_fits_and_its_other_lines_hang() -> None:
    lines = paragraph("so much depends upon a red wheel barrow", 20, "  ").splitlines()
    assert all(len(line) <= 20 for line in lines)
    assert [line.startswith("  ") for line in lines] == [False, True]


def test_a_path_is_never_broken() -> None:
    path = "/a/folder-with-a-name/that-is-longer/than-a-line.jsonl"
    assert path in paragraph(f"Results: {path}", 20).splitlines()


def test_a_command_is_the_same_to_a_shell_on_whatever_lines() -> None:
    text = shell_command(COMMAND, 40, "  to measure: ", "    ")
    assert max(map(len, text.splitlines())) <= 40
    joined = text.removeprefix("  to measure: ").replace("\\\n", "")
    assert shlex.split(joined) == shlex.split(COMMAND)


def test_an_option_stays_with_its_value() -> None:
    lines = shell_command(COMMAND, 40, "", "    ").splitlines()
    assert any("--lengths 256,512" in line for line in lines)
    assert shell_command(COMMAND, 200, "", "") == COMMAND
