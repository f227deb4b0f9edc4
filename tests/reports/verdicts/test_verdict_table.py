"""A comparison reads with the worst first, and its last line says whether anything regressed."""

import json
from typing import Any

import pytest

from reports.text.screen import Screen
from reports.verdicts.comparison import Comparison, Line
from reports.verdicts.verdict_table import render, summary

WIDE = Screen(200)
LAYOUTS: tuple[Any, ...] = ("simple", "github", "json")


def a_line(variant: str, verdict: Any, **rest: Any) -> Line:
    """Return a cell of a comparison; with times unless it says why it has none."""
    if "reason" not in rest:
        rest = {"ratio": 1.234, "ratio_ci": (1.1, 1.378), "replicates": 6} | rest
    return Line(case="n512-h8-d64-float32", variant=variant, verdict=verdict, **rest)


ALL = Comparison(
    "main",
    "this tree",
    ["eager slowed by 5% on purpose", "another note"],
    [
        a_line("a_same", "same", ratio=1.001, ratio_ci=(0.99, 1.012)),
        a_line("b_inconclusive", "inconclusive", ratio_ci=None, replicates=1),
        a_line("c_faster", "faster", ratio=0.8),
        a_line("d_heavier", "same", memory_ratio=1.5, heavier=True),
        a_line("e_less_exact", "same", error_ratio=3.0, less_exact=True),
        a_line("f_slower", "slower"),
        a_line("g_missing", "missing", reason="base has it and head does not"),
        a_line("h_wrong", "wrong", reason="disagrees in head: no finite error"),
    ],
)
FINE = Comparison("main", "this tree", [], ALL.lines[:3])
EMPTY = Comparison("main", "this tree", [], [])


def order(text: str, comparison: Comparison = ALL) -> list[str]:
    """Return the variants as they first come in a text."""
    names = [line.variant for line in comparison.lines]
    return sorted(names, key=text.index)


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_the_worst_comes_first_and_whatever_regressed_before_all_else(layout: Any) -> None:
    assert order(render(ALL, layout, WIDE)) == [
        "h_wrong",
        "g_missing",
        "f_slower",
        "d_heavier",
        "e_less_exact",
        "c_faster",
        "b_inconclusive",
        "a_same",
    ]


def test_a_table_shows_the_ratio_its_interval_and_the_number_of_replicates() -> None:
    text = render(ALL, "simple", WIDE)
    rows = {line.split()[1]: line.split() for line in text.splitlines() if line.startswith("n512")}
    assert rows["f_slower"][2:] == ["slower", "1.234x", "1.100", "to", "1.378", "6"]
    assert rows["b_inconclusive"][2:] == ["inconclusive", "1.234x", "1"]
    assert rows["g_missing"][2:] == ["missing"]
    assert rows["d_heavier"][-2:] == ["1.50x", "heavier"]
    assert rows["e_less_exact"][-3:] == ["3.00x", "less", "exact"]


def test_in_80_columns_nothing_is_lost_but_the_number_of_replicates() -> None:
    text = render(ALL, "simple")
    assert max(map(len, text.splitlines())) <= 80
    assert order(text) == order(render(ALL, "simple", WIDE))
    for words in ("heavier", "less exact", "1.100 to 1.378"):
        assert words in " ".join(text.split())
    assert summary(ALL) == " ".join(text.rpartition("\n\n")[2].split())


def test_memory_and_error_that_did_not_change_are_not_shown() -> None:
    line = a_line("eager", "same", memory_ratio=1.004, error_ratio=0.999)
    assert "1.00x" not in render(Comparison("a", "b", [], [line]), "simple")


def test_more_memory_than_none_is_shown_without_a_ratio() -> None:
    line = a_line("eager", "same", memory_ratio=None, heavier=True)
    comparison = Comparison("a", "b", [], [line])
    assert render(comparison, "simple", WIDE).splitlines()[4].endswith("memory heavier")
    assert "\neager n512-h8-d64-float32: memory heavier\n" in render(comparison, "simple")


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_a_text_names_both_sides_first_then_notes_reasons_and_the_summary_last(layout: Any) -> None:
    text = render(ALL, layout, WIDE)
    assert text.startswith("this tree against main\n\n")
    assert text.endswith(f"\n\n{summary(ALL)}")
    places = [text.index(words) for words in (*ALL.notes, "g_missing n512-h8-d64-float32: base")]
    assert places == sorted(places)


def test_reasons_are_items_of_a_list_in_markdown_alone() -> None:
    reasons = [
        "h_wrong n512-h8-d64-float32: disagrees in head: no finite error",
        "g_missing n512-h8-d64-float32: base has it and head does not",
    ]
    for layout, mark in (("simple", ""), ("github", "- ")):
        lines = render(ALL, layout).splitlines()  # type: ignore[arg-type]
        assert [line for line in lines if ": " in line][:2] == [f"{mark}{each}" for each in reasons]


@pytest.mark.parametrize(
    ("cells", "first"), [(3, "v2 n512-h8-d64-float32: "), (4, "4 cells, such as v0 n512-")]
)
def test_a_reason_of_many_cells_is_said_once_and_counts_them(cells: int, first: str) -> None:
    lines = [a_line(f"v{number}", "missing", reason="it is gone") for number in range(cells)]
    text = render(Comparison("main", "this tree", [], lines), "simple", WIDE)
    assert f"\n{first}" in text
    assert text.count("it is gone") == (cells if cells < 4 else 1)


def test_the_markdown_table_is_one() -> None:
    table = render(ALL, "github").split("\n\n")[2].splitlines()
    assert len(table) == 2 + len(ALL.lines)
    assert set(table[1]) == set("|-")
    assert {line.count("|") for line in table} == {9}


def test_json_has_every_figure_and_reason_under_its_name() -> None:
    told = json.loads(render(ALL, "json"))
    assert (told["base"], told["head"], told["notes"]) == ("main", "this tree", ALL.notes)
    assert (told["regressed"], told["judged"]) == (True, 7)
    cells = {line["variant"]: line for line in told["lines"]}
    assert cells["f_slower"]["ratio"] == 1.234
    assert cells["f_slower"]["ratio_ci"] == [1.1, 1.378]
    assert cells["d_heavier"]["memory_ratio"] == 1.5
    assert cells["b_inconclusive"]["ratio_ci"] is None
    assert cells["h_wrong"]["reason"] == "disagrees in head: no finite error"


def test_the_summary_counts_and_says_what_regressed() -> None:
    assert summary(ALL) == (
        "REGRESSED: 7 of 8 cells judged: 1 wrong, 1 missing, 1 slower, 1 faster, 1 inconclusive, "
        "3 same, 1 heavier, 1 less exact"
    )


def test_the_summary_says_that_nothing_regressed() -> None:
    assert summary(FINE) == ("no regression: 2 of 3 cells judged: 1 faster, 1 inconclusive, 1 same")


@pytest.mark.parametrize("place", range(3, 8), ids=lambda place: ALL.lines[place].variant)
def test_each_kind_of_regression_alone_is_one(place: int) -> None:
    comparison = Comparison("main", "this tree", [], [ALL.lines[0], ALL.lines[place]])
    assert comparison.regressed
    assert summary(comparison).startswith("REGRESSED: 2 of 2 cells judged: ")


def test_inconclusive_times_alone_are_no_verdict_unless_memory_has_one() -> None:
    times = Comparison("main", "this tree", [], [ALL.lines[1]])
    assert summary(times) == "NOT JUDGED: 0 of 1 cell judged: 1 inconclusive"
    heavier = a_line("eager", "inconclusive", memory_ratio=1.5, heavier=True)
    assert summary(Comparison("main", "this tree", [], [heavier])) == (
        "REGRESSED: 1 of 1 cell judged: 1 inconclusive, 1 heavier"
    )


def test_one_cell_is_a_cell() -> None:
    one = Comparison("main", "this tree", [], ALL.lines[:1])
    assert summary(one) == "no regression: 1 of 1 cell judged: 1 same"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_comparison_of_nothing_is_shown_as_such(layout: Any) -> None:
    text = render(EMPTY, layout)
    assert "this tree" in text
    assert summary(EMPTY) == "NOT JUDGED: 0 of 0 cells judged: nothing"
    if layout == "json":
        assert json.loads(text)["lines"] == []
