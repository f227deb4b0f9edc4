"""report.md has the answers, every cell, reason and command; hostile words stay words."""

from reports.web_page.markdown_text import text
from reports.web_page.page_data import page_data
from reports.web_page.report_markdown import report_markdown
from tests.records import a_run
from tests.reports.web_page.page_results import a_device, a_history, two_devices

REPORT = report_markdown(page_data(two_devices()), [("Time", "charts/time.svg")])


def test_it_begins_with_the_answer_of_each_device() -> None:
    first, second = REPORT.splitlines()[2:6:2]
    assert first.startswith("Invented CPU, 2 cores: forward, float32, 8 heads of 64, causal. **")
    assert second.startswith("Other ")
    assert "native_window is fastest at all 3 lengths" in first


def test_every_cell_every_reason_and_every_command_is_in_it() -> None:
    data = page_data([a_device()])
    report = report_markdown(data, [])
    lines = [line.replace("|", " ").split() for line in report.splitlines()]
    shown = [words for words in lines if len(words) > 2 and words[0] in {"512", "1024", "2048"}]
    assert len(shown) == len(data.cells)
    assert report.count("out_of_memory, n") == 12
    assert all(f"    {cell.command}" in report for cell in data.cells)


def test_the_steps_of_a_history_are_in_it_with_the_regression_first() -> None:
    report = report_markdown(page_data(a_history()), [])
    section = report.partition("## From run to run\n\n")[2].partition("\n\n## ")[0]
    verdict, _, *lines = section.splitlines()
    assert verdict == "REGRESSED: 1 unexplained slower step; 3 steps in 8 cells judged."
    rows = [[word.strip() for word in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:5] for row in rows] == [
        ["+5.0%", "+4.7% to +5.4%", "code", "eager", "512"],
        ["-9.9%", "-10.1% to -9.7%", "environment", "flex", "512"],
        ["+6.1%", "+5.7% to +6.6%", "machine", "native_window", "512"],
    ]
    assert rows[1][6:] == ["00000000000c", "2026-01-13", "torch 2.14.1 and not 2.13.0"]


def test_a_report_of_one_run_has_no_history() -> None:
    assert "From run to run" not in REPORT


def test_pictures_are_named_beside_it() -> None:
    assert "![Time](charts/time.svg)" in REPORT


def test_markup_in_names_and_reasons_is_no_markup() -> None:
    assert "<" not in REPORT
    assert "&lt;/script\\>" in REPORT


def test_what_markdown_would_read_has_a_backslash_and_names_stay_as_they_are() -> None:
    assert text("a|b `c` [d](e) *f* ~g~ native_window _h_") == (
        "a\\|b \\`c\\` \\[d\\](e) \\*f\\* \\~g\\~ native_window \\_h\\_"
    )
    assert text("two\nlines & more") == "two lines &amp; more"


def test_a_machine_too_noisy_to_trust_is_said_before_its_answer() -> None:
    noisy = a_run({"no_bias": [1.0, 1.01, 0.99], "eager": [0.6, 1.0, 1.7]})
    line = report_markdown(page_data([noisy]), []).splitlines()[2]
    assert line.index("**Too noisy to trust: ") < line.index("**eager looks fastest")
    assert "Too noisy" not in REPORT
