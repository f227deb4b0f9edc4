"""The conditions of a run stand above its table; runs of other conditions have one of their own."""

import re
from collections.abc import Sequence

import msgspec
import pytest

from suite.records.record import Record
from suite.records.store import Results
from tests.records import (
    a_canary,
    a_case,
    a_cell,
    a_check,
    a_limit,
    a_machine,
    a_plan,
    a_run,
    a_time,
    results,
)
from tests.reports.table_text import TableFormat, cells_of, flat, of_all_kinds, table


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_the_conditions_are_told_above_the_table(layout: TableFormat) -> None:
    first = flat(table(layout, of_all_kinds()).partition("\n\n")[0])
    for words in (
        "Invented CPU, 2 cores",
        "torch 2.13.0",
        "2 threads",
        "commit 000000000000",
        "3 passes",
        "(1024 x 1024 float32 product) 7.0 ms",
    ):
        assert words in first
    assert "triton" not in first


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_each_group_has_conditions_and_a_table_of_its_own(layout: TableFormat) -> None:
    case = a_case()
    here = results(a_machine(a_plan(case)), *a_cell(case, "eager"))
    there = results(a_machine(a_plan(case), torch="2.11.0"), *a_cell(case, "eager", 2.0))
    text = table(layout, here, there)
    assert text.count("torch 2.13.0") == text.count("torch 2.11.0") == 1
    assert cells_of(text).count(("512", "float32", "forward", "eager")) == 2
    assert len(re.findall("fastest that agrees", text)) == 2


def test_conditions_of_a_run_without_a_canary_leave_it_out() -> None:
    first = flat(table("simple", results(a_machine())).partition("\n\n")[0])
    assert "  " not in first
    assert "canary" not in first


CALM = (1.0, 1.01, 0.99)


def caution_of(file: Results) -> str:
    """Return the line of caution above a table, or an empty text."""
    parts = [flat(part) for part in table("simple", file).split("\n\n")]
    cautions = [part for part in parts if part.startswith("Take care")]
    assert len(cautions) <= 1
    return cautions[0] if cautions else ""


def test_a_calm_run_of_three_passes_calls_for_no_caution() -> None:
    assert caution_of(a_run({"no_bias": CALM, "eager": CALM}, canaries=(6.0, 6.5, 7.1))) == ""


@pytest.mark.parametrize(
    ("canaries", "words"),
    [
        ((6.6, 40.0, 240.0), "Take care: the canary moved by 36.36x, from 6.6 to 240.0 ms"),
        ((6.0, 6.0, 7.3), "Take care: the canary moved by 1.22x, from 6.0 to 7.3 ms"),
    ],
)
def test_a_canary_that_moved_by_over_a_fifth_is_told(canaries: Sequence[float], words: str) -> None:
    assert caution_of(a_run({"no_bias": CALM, "eager": CALM}, canaries=canaries)) == words


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("disturbed", "7 turns disturbed by other processes, in 1 of 2 cells"),
        ("throttled", "7 turns slowed by heat or a power brake, in 1 of 2 cells"),
    ],
)
def test_turns_that_were_repeated_are_counted(field: str, words: str) -> None:
    case = a_case()
    slowed = msgspec.structs.replace(a_time(case, "eager", pass_number=4), **{field: 7})
    file = a_run({"no_bias": CALM, "eager": CALM}, slowed)
    assert caution_of(file) == f"Take care: {words}"


def test_passes_in_which_the_devices_rates_were_not_measured_are_counted() -> None:
    whole = a_run({"no_bias": CALM, "eager": CALM}, canaries=(6.0, 6.1, 6.2))
    resumed = [*whole.records, a_canary(1), a_canary(2)]  # of passes whose rates are known
    assert caution_of(whole._replace(records=resumed)) == ""
    lacking = [record for record in whole.records if record != a_limit(pass_number=2)]
    assert caution_of(whole._replace(records=lacking)) == (
        "Take care: the device's rates, against which times are held, are not known "
        "in 1 of 3 passes"
    )


def test_cells_without_an_interval_are_counted() -> None:
    assert caution_of(a_run({"no_bias": CALM[:2], "eager": CALM[:2]})) == (
        "Take care: no cell has an interval, which takes 3 passes"
    )
    assert caution_of(a_run({"no_bias": CALM, "eager": CALM[:2]})) == (
        "Take care: 1 of 2 cells lack an interval, which takes 3 passes"
    )


def test_everything_to_take_care_of_stands_in_one_line() -> None:
    case = a_case()
    records: list[Record] = [a_canary(1, 40.0), a_canary(2, 240.0), a_limit()]
    for variant, by_round in {"no_bias": [15.9] * 3 + [0.286] * 6, "eager": [27.7] * 3}.items():
        time = msgspec.structs.replace(a_time(case, variant, by_round), disturbed=2)
        records += [a_check(case, variant), time]
    file = results(a_machine(a_plan(case, variants=["no_bias", "eager"])), *records)
    assert caution_of(file) == (
        "Take care: 4 turns disturbed by other processes, in 2 of 2 cells; the canary moved by "
        "6.00x, from 40.0 to 240.0 ms; the device's rates, against which times are held, are not "
        "known in 1 of 2 passes; no cell has an interval, which takes 3 passes; 1 of 2 cells "
        "too noisy to rank"
    )
    assert "too noisy: eager" in table("simple", file)


NOISY = (0.6, 1.0, 1.7)


def doubt_of(file: Results) -> str:
    """Return what stands above a table if it is not to be trusted, or an empty text."""
    first = flat(table("simple", file).partition("\n\n")[0])
    return first if first.startswith("Too noisy to trust") else ""


def test_a_calm_run_is_not_doubted() -> None:
    assert doubt_of(a_run({"no_bias": CALM, "eager": CALM}, canaries=(6.0, 6.5, 9.0))) == ""
    assert doubt_of(a_run({"no_bias": CALM[:1], "eager": CALM[:1]})) == ""


def test_a_run_whose_ratios_are_hardly_known_is_doubted_at_the_top_with_what_would_help() -> None:
    assert doubt_of(a_run({"no_bias": CALM, "eager": NOISY})) == (
        "Too noisy to trust: 1 of 1 ratios are known to no more than 10%. Stop what else runs "
        "(`doctor` names what disturbs), or run more --passes."
    )


def test_one_noisy_cell_of_two_is_no_noisy_machine() -> None:
    assert doubt_of(a_run({"no_bias": CALM, "eager": CALM, "flex": NOISY})) == ""


@pytest.mark.parametrize("canaries", [(6.0, 6.0, 12.1), (6.0, 13.0)])
def test_a_machine_whose_speed_doubled_is_doubted(canaries: Sequence[float]) -> None:
    passes = len(canaries)
    file = a_run({"no_bias": CALM[:passes], "eager": CALM[:passes]}, canaries=canaries)
    assert doubt_of(file).startswith("Too noisy to trust: the canary moved by 2.")


def test_without_intervals_the_canary_and_disturbed_turns_decide() -> None:
    two = {"no_bias": CALM[:2], "eager": CALM[:2]}
    assert "moved by 1.25x" in doubt_of(a_run(two, canaries=(6.0, 7.5)))
    case = a_case()
    slowed = msgspec.structs.replace(a_time(case, "eager", pass_number=1), disturbed=11)
    checks = [a_check(case, "no_bias"), a_check(case, "eager")]
    file = results(a_machine(a_plan(case)), *checks, a_time(case, "no_bias"), slowed)
    assert doubt_of(file) == (
        "Too noisy to trust: 11 of 21 turns disturbed. Stop what else runs (`doctor` names what "
        "disturbs), or run --passes 3 for intervals."
    )


def test_advice_from_a_doubted_run_is_to_measure_again() -> None:
    text = flat(table("simple", a_run({"no_bias": CALM, "eager": NOISY})))
    assert "Measure again before you use eager: " in text
    assert "Use eager" not in text
