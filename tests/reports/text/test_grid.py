"""A grid fits its width: spare columns leave, long texts wrap, empty columns are left out."""

import pytest

from reports.text.grid import GridColumn, grid

NAMES = GridColumn("name", ["eager", "flex"])
FIGURES = GridColumn("ms", ["1.00", "12.0"], right=True)
WORDS = GridColumn("what it is", ["one operation at a time in plain torch", "compiled"], wraps=True)


def test_a_grid_has_headers_a_rule_and_rows_without_spaces_at_the_end() -> None:
    assert grid([NAMES, FIGURES], 80).splitlines() == [
        "name     ms",
        "-----  ----",
        "eager  1.00",
        "flex   12.0",
    ]


def test_a_column_without_a_text_is_left_out() -> None:
    assert grid([NAMES, GridColumn("NVML", ["", ""])], 80) == grid([NAMES], 80)


def test_the_sparest_columns_leave_first_and_only_as_many_as_must() -> None:
    spare = [
        GridColumn("error", ["1e-06", "1e-06"], spare=1),
        GridColumn("copy", ["2.00", "3.00"], spare=2),
    ]
    headers = [
        grid([NAMES, *spare, FIGURES], width).split("\n")[0].split() for width in (24, 23, 16)
    ]
    assert headers == [["name", "error", "copy", "ms"], ["name", "error", "ms"], ["name", "ms"]]


@pytest.mark.parametrize("width", [30, 40, 60])
def test_long_texts_wrap_and_lose_no_word(width: int) -> None:
    text = grid([NAMES, WORDS], width)
    assert max(map(len, text.splitlines())) <= width
    assert "one operation at a time in plain torch" in " ".join(
        line[7:].strip() for line in text.splitlines()
    )


def test_a_name_stays_whole_where_texts_beside_it_can_wrap() -> None:
    names = GridColumn("advised", ["native_window", "flex"], wraps=True)
    lines = grid([names, WORDS], 30).splitlines()
    assert max(map(len, lines)) <= 30
    assert lines[2].startswith("native_window  ")


def test_a_word_that_is_no_name_is_cut_rather_than_a_line_made_longer() -> None:
    paths = GridColumn("file", ["results/" + "x" * 60] * 2, wraps=True)
    assert max(map(len, grid([NAMES, paths], 40).splitlines())) <= 40


def test_bold_rows_are_bold_in_every_line_and_take_no_more_room() -> None:
    bold = grid([NAMES, WORDS], 30, [True, False]).splitlines()
    plain = grid([NAMES, WORDS], 30).splitlines()
    assert [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in bold] == plain
    assert ["\x1b[1m" in line for line in bold] == [False, False, True, True, False]
