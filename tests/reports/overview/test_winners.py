"""The summary under a table names the fastest that agrees, and whatever is tied with it."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from reports.overview.terminal import overview
from reports.tables.cells import groups
from reports.text.screen import Screen
from suite.cases.case import Case
from suite.records.record import CellRecord
from suite.records.store import Results
from tests.records import a_case, a_cell, a_check, a_fault, a_machine, a_plan, a_time, results
from tests.reports.table_text import flat, summary_of, table


def two_dtypes(modes: Sequence[Any] = ("forward",)) -> Results:
    """Return a file with a winner in float32 and none that agrees in bfloat16."""
    records: list[CellRecord] = []
    cases = []
    for mode in modes:
        right, wrong = a_case(512, "float32", mode), a_case(512, "bfloat16", mode)
        cases += [right, wrong]
        for number in (1, 2, 3):
            records += a_cell(right, "no_bias", 2.0, number)
            records += a_cell(right, "eager", 6.0, number)
            records += a_cell(right, "flex", 3.0, number)
            records += a_cell(wrong, "no_bias", 2.0, number)
        records += [
            a_check(wrong, "eager", error=1.0),
            a_check(wrong, "flex", stage="after", error=1.0),
        ]
    return results(a_machine(a_plan(*cases, passes=3)), *records)


def test_the_summary_names_the_fastest_and_none_where_nothing_agrees() -> None:
    assert summary_of(table("github", two_dtypes())) == {("512", "forward"): "flex 1.50x none"}


def test_the_summary_has_a_line_for_each_length_and_mode() -> None:
    found = summary_of(table("github", two_dtypes(["forward", "backward"])))
    assert set(found) == {("512", "forward"), ("512", "backward")}


def test_the_summary_never_names_the_baseline() -> None:
    case = a_case()
    records = [*a_cell(case, "no_bias", 0.5), a_fault(case, "eager")]
    file = results(a_machine(a_plan(case, variants=["no_bias", "eager"])), *records)
    assert summary_of(table("github", file)) == {("512", "forward"): "none"}


def flex_beside(*eager_ms: float) -> Results:
    """Return a file in which flex takes 2 ms, and eager so many ms in each pass."""
    case = a_case()
    records: list[CellRecord] = []
    for number, ms in enumerate(eager_ms, start=1):
        records += a_cell(case, "no_bias", 1.0, number)
        records += a_cell(case, "flex", 2.0, number)
        records += a_cell(case, "eager", ms, number)
    return results(a_machine(a_plan(case, passes=len(eager_ms))), *records)


def test_the_summary_names_all_that_are_tied() -> None:
    file = flex_beside(2.1, 1.95, 2.08)
    text = table("github", file)
    assert summary_of(text) == {("512", "forward"): "flex 2.00x = eager"}
    assert "2 (tied with 1)" in text
    assert re.search(r"forward +flex = eager +2.00x", table("simple", file))
    assert re.search(r"512  =  eager .* 2 tied$", table("simple", file), re.MULTILINE)


def test_a_tie_that_reaches_far_is_said_to_be_noise() -> None:
    file = flex_beside(2.0, 3.0, 2.2)
    text = table("github", file)
    assert summary_of(text) == {("512", "forward"): "flex 2.00x = eager?"}
    assert "2 (too noisy to tell from 1)" in text
    assert re.search(r"512  =  eager .* 2 tied\?$", table("simple", file), re.MULTILINE)
    assert "too noisy to tell from it" in flat(table("simple", file))


def test_a_run_with_nothing_measured_yet_has_no_fastest() -> None:
    text = table("simple", results(a_machine(a_plan(a_case()))))
    assert "fastest" not in text
    assert "not measured yet" in text


def test_cases_that_differ_in_logit_scale_have_a_winner_each() -> None:
    plain = a_case()
    other: Case = msgspec.structs.replace(plain, logit_scale=4.0)
    records = [
        *a_cell(plain, "eager", 2.0),
        *a_cell(plain, "flex", 4.0),
        *a_cell(other, "eager", 4.0),
        *a_cell(other, "flex", 2.0),
    ]
    text = table("simple", results(a_machine(a_plan(plain, other)), *records))
    summaries = "".join(text.split("fastest that agrees")[1:])
    assert "eager" in summaries
    assert "flex" in summaries


def test_a_case_that_nobody_planned_is_not_called_lost() -> None:
    short, long = a_case(512, "float32"), a_case(1024, "bfloat16")
    records = [*a_cell(short, "flex"), *a_cell(long, "flex")]
    text = table("github", results(a_machine(a_plan(short, long, variants=["flex"])), *records))
    assert "none" not in "".join(summary_of(text).values())


def race_of(ms_by_length: dict[int, dict[str, float]]) -> Results:
    """Return three passes of a case for each length, in which variants take so many ms."""
    cases = {length: a_case(length) for length in ms_by_length}
    records: list[CellRecord] = []
    for length, ms_by_variant in ms_by_length.items():
        for number in (1, 2, 3):
            for variant, ms in ms_by_variant.items():
                records += a_cell(cases[length], variant, ms, number)
    return results(a_machine(a_plan(*cases.values(), passes=3)), *records)


LONG, SHORT = {"no_bias": 4.0, "eager": 8.0, "flex": 2.0}, {"no_bias": 1.0, "eager": 1.1, "flex": 3}


def test_the_summary_comes_first_and_folds_lengths_with_the_same_winner() -> None:
    text = table("simple", race_of({2048: LONG, 512: SHORT, 1024: LONG, 4096: LONG}))
    _, summary, heading, rows = text.split("\n\n")[1:5]
    assert [" ".join(line.split()) for line in summary.splitlines()[2:]] == [
        "512 float32 forward eager 1.10x (1.10 to 1.10)",
        "1024 to 4096 float32 forward flex 0.50x",
    ]
    assert heading == "float32, forward"
    assert [line.split()[0] for line in rows.splitlines()[2::3]] == ["512", "1024", "2048", "4096"]


def test_what_to_do_stands_first_under_the_rows_then_what_to_take_care_of() -> None:
    file = race_of({512: SHORT, 1024: LONG, 2048: LONG, 4096: LONG})
    disturbed = msgspec.structs.replace(a_time(a_case(512), "eager", 1.1, 4), disturbed=7)
    text = table("simple", file._replace(records=[*file.records, disturbed]))
    under = text.split("\n\n")[5:]
    assert under[0] == "Use flex: 0.50x at 1024 to 4096\nUse eager: 1.10x at 512"
    assert under[1].startswith("Take care: 7 turns disturbed")


def test_lengths_at_which_nothing_is_to_be_used_are_told() -> None:
    assert "Use none of these at 512 in bfloat16: none was measured that agrees" in table(
        "simple", two_dtypes()
    )


def test_a_winner_is_marked_in_its_row_and_bold_where_a_terminal_shows_that() -> None:
    measured_ = groups([race_of({512: SHORT})])
    (line,) = [line for line in overview(measured_, "time", Screen()).splitlines() if "*  " in line]
    assert line.split()[:3] == ["512", "*", "eager"]
    assert "\x1b" not in overview(measured_, "time", Screen())
    bold = overview(measured_, "time", Screen(80, bold=True))
    assert "\x1b[1meager" in bold
    assert "\x1b[1mflex" not in bold
    assert re.sub(r"\x1b\[\d*m", "", bold) == overview(measured_, "time", Screen())
