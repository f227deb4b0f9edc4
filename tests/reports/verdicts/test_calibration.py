"""A calibration's rates are what simulated pairs of known spread must give.

Simulations have 8 cells and a fixed seed, and fewer comparisons than `aa` draws.
"""

import json
import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from reports.verdicts import calibration, calibration_table
from reports.verdicts.calibration import (
    EFFECTS,
    ITSELF,
    CountRate,
    PairFigures,
    PairsPlan,
    autocorrelation,
    calibrate,
    pairs_of,
)
from reports.verdicts.comparison import Comparison
from reports.verdicts.decision import decide
from suite.records.record import Record, Versus
from suite.records.store import Results, StoreError
from tests.effort import examples
from tests.records import a_case, a_fault, a_machine, a_pair, a_versus, results

CASE = a_case()
GATE = 0.01
CELLS = tuple(f"cell {number}" for number in range(8))


def gaussian_pairs(spread: float, pairs: int = 36) -> list[PairFigures]:
    """Return independent pairs of the same code."""
    random = Random(7)
    return [{cell: random.gauss(0.0, spread) for cell in CELLS} for _ in range(pairs)]


def series(*figures: float) -> list[PairFigures]:
    """Return pairs of one cell."""
    return [{"cell": each} for each in figures]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw fewer comparisons, of fewer numbers of pairs and effects."""
    monkeypatch.setattr(calibration, "RESAMPLES", 100)
    monkeypatch.setattr(calibration, "RESAMPLES_OF_POWER", 40)
    monkeypatch.setattr(calibration, "STAGES", (6, 12))
    monkeypatch.setattr(calibration, "EFFECTS", (0.02, 0.05, 0.10))
    monkeypatch.setattr(calibration_table, "EFFECTS", (0.02, 0.05, 0.10))


# Rates


@given(of=st.integers(1, 2000), data=st.data())
@settings(max_examples=examples(50), deadline=None)
def test_a_rates_bounds_are_those_of_clopper_and_pearson(of: int, data: st.DataObject) -> None:
    found = data.draw(st.sampled_from((0, 1, of // 2, of - 1, of)) | st.integers(0, of))
    exact = binomtest(found, of).proportion_ci(method="exact")
    assert CountRate(found, of).bounds == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_a_rate_reads_as_a_count_with_its_bounds() -> None:
    assert str(CountRate(2, 400)) == "2 of 400 (95%: 0.1% to 1.8%)"
    assert str(CountRate(0, 300)) == "0 of 300 (95%: 0.0% to 1.2%)"


# Pairs in files


def pairs(ratios: Mapping[str, Mapping[int, float]], *others: Record) -> Results:
    """Return a file of aa's with each variant's head / base by number of the pair."""
    first = [
        a_pair(CASE, variant, number, ratio=ratio)
        for variant, by_number in ratios.items()
        for number, ratio in by_number.items()
    ]
    if not any(isinstance(other, Versus) for other in others):
        others = (a_versus(base=ITSELF), *others)
    return results(a_machine(), *others, *first)


def ratios_of(*files: Results) -> list[dict[str, float]]:
    """Return head / base of the pairs of files by variant."""
    return [
        {
            cell.removesuffix(f" {CASE.id}"): round(math.exp(figure), 6)
            for cell, figure in one.items()
        }
        for one in pairs_of(files)
    ]


def test_pairs_of_all_files_follow_each_other() -> None:
    one = pairs({"eager": {1: 1.1, 2: 1.2}, "flex": {1: 2.1, 2: 2.2}})
    other = pairs({"eager": {1: 1.3}, "flex": {1: 2.3}})
    assert ratios_of(one, other) == [
        {"eager": 1.1, "flex": 2.1},
        {"eager": 1.2, "flex": 2.2},
        {"eager": 1.3, "flex": 2.3},
    ]


def test_a_pair_that_lacks_a_cell_is_left_out_and_the_others_stay_whole() -> None:
    file = pairs({"eager": {1: 1.1, 3: 1.3, 4: 1.4}, "flex": {1: 2.1, 2: 2.2, 3: 2.3}})
    assert ratios_of(file) == [{"eager": 1.1, "flex": 2.1}, {"eager": 1.3, "flex": 2.3}]


def test_files_of_different_cells_are_taken_for_those_they_share() -> None:
    one = pairs({"eager": {1: 1.1}, "flex": {1: 2.1}})
    other = pairs({"eager": {1: 1.2}, "compile": {1: 3.1}})
    assert ratios_of(one, other) == [{"eager": 1.1}, {"eager": 1.2}]


def test_files_that_share_no_cell_have_no_pairs() -> None:
    assert ratios_of(pairs({"eager": {1: 1.1}}), pairs({"flex": {1: 2.1}})) == []


def test_second_stages_and_faults_are_no_pairs() -> None:
    others: list[Record] = [
        a_pair(CASE, "eager", 2, stage="second", ratio=9.0),
        a_fault(CASE, "flex", 1),
    ]
    assert ratios_of(pairs({"eager": {1: 1.1}}, *others)) == [{"eager": 1.1}]


def test_pairs_with_a_slowdown_on_purpose_are_none_of_the_same_code() -> None:
    slowed = pairs({"eager": {1: 1.05}}, a_versus(base=ITSELF, injected={f"eager {CASE.id}": 0.05}))
    assert ratios_of(slowed, pairs({"eager": {1: 1.0}})) == [{"eager": 1.0}]


def test_nothing_recorded_is_no_pairs() -> None:
    assert pairs_of([]) == pairs_of([pairs({})]) == []


@pytest.mark.parametrize("file", [pairs({"eager": {1: 1.0}}, a_versus()), results(a_machine())])
def test_pairs_of_different_code_tell_no_rates(file: Results) -> None:
    with pytest.raises(StoreError, match="no file of aa's; only pairs of the same code"):
        pairs_of([pairs({"eager": {1: 1.0}}), file])


def test_pairs_of_unlike_machines_are_refused_with_what_differs() -> None:
    other = results(a_machine(torch="2.12.0"), a_versus(base=ITSELF))
    with pytest.raises(StoreError, match=r"torch 2.12.0 and not 2.13.0"):
        pairs_of([pairs({"eager": {1: 1.0}}), other])


# Autocorrelation


@pytest.mark.parametrize(
    ("figures", "correlation"),
    [
        ((1.0, -1.0) * 10, -19 / 20),
        ((1.0,) * 10 + (-1.0,) * 10, (18 - 1) / 20),
        ((1.0, 2.0, 3.0, 4.0, 5.0), 0.4),
        ((3.0, 3.0, 3.0), 0.0),
    ],
    ids=["alternating", "one step", "a ramp", "constant"],
)
def test_the_correlation_of_known_series(figures: Sequence[float], correlation: float) -> None:
    assert autocorrelation(series(*figures)) == pytest.approx(correlation)


def test_the_correlation_is_pooled_over_cells_each_about_its_own_mean() -> None:
    both = [{"a": 5 + sign, "b": -5 + 3 * sign} for sign in (1.0, -1.0) * 10]
    assert autocorrelation(both) == pytest.approx(-19 / 20)


def test_half_of_each_error_left_in_the_next_is_seen() -> None:
    random, figures = Random(3), [0.0]
    for _ in range(2000):
        figures.append(0.5 * figures[-1] + random.gauss(0.0, 1.0))
    assert autocorrelation(series(*figures)) == pytest.approx(0.5, abs=0.06)


# Rates of comparisons


def test_of_quiet_pairs_few_raise_false_alarms_and_a_slowdown_of_5_percent_is_found(
    few: None,
) -> None:
    found = calibrate(gaussian_pairs(0.01), GATE)
    assert (found.pairs, [plan.pairs for plan in found.plans]) == (36, [6, 12])
    assert found.spread == pytest.approx(dict.fromkeys(CELLS, 0.01), rel=0.5)
    assert abs(found.autocorrelation) < 0.2
    for plan in found.plans:
        assert plan.false_alarms.of == 100
        assert plan.false_alarms.share <= 0.02
        assert plan.power[0.05].of == 40
        assert plan.power[0.05].share >= 0.95
    assert found.recommended is not None
    assert found.recommended.pairs == 6
    told = calibration_table.render(found, "simple")
    assert "36 pairs of the same code" in told
    assert "Recommended: --pairs 6; smallest slowdown found in 80% of comparisons: " in told


def test_of_noisy_pairs_5_percent_is_not_found_and_nothing_is_recommended(few: None) -> None:
    found = calibrate(gaussian_pairs(0.10), GATE)
    for plan in found.plans:
        assert plan.false_alarms.share <= 0.03
        assert plan.power[0.05].share < 0.5
        assert not plan.is_enough
    assert found.recommended is None
    told = calibration_table.render(found, "simple")
    assert "No number of pairs drawn here" in told
    assert "Recommended" not in told


def test_a_gate_over_the_slowdown_hides_it(few: None) -> None:
    for plan in calibrate(gaussian_pairs(0.01, pairs=18), gate=0.09).plans:
        assert plan.power[0.05].found == 0
        assert plan.false_alarms.found == 0


def test_the_same_seed_gives_the_same_rates(few: None) -> None:
    recorded = gaussian_pairs(0.03, pairs=18)
    assert calibrate(recorded, GATE) == calibrate(recorded, GATE)
    assert calibrate(recorded, GATE) != calibrate(recorded, GATE, seed=1)


@pytest.mark.parametrize("recorded", [2, 11])
def test_too_few_pairs_say_so(recorded: int) -> None:
    found = calibrate(gaussian_pairs(0.01, recorded), GATE)
    assert (found.plans, found.recommended) == ([], None)
    told = calibration_table.render(found, "simple")
    assert f"{recorded} pairs of the same code" in told
    assert told.endswith(calibration_table.TOO_FEW)


def test_only_stages_that_three_times_fit_into_the_pairs_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibration, "RESAMPLES", 1)
    monkeypatch.setattr(calibration, "RESAMPLES_OF_POWER", 1)
    tried = {
        count: [plan.pairs for plan in calibrate(gaussian_pairs(0.01, count), GATE).plans]
        for count in (11, 12, 17, 18, 36)
    }
    assert tried == {11: [], 12: [4], 17: [4], 18: [4, 6], 36: [4, 6, 8, 10, 12]}


def test_a_drawn_comparison_uses_no_pair_twice_and_flips_whole_pairs(
    few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "EFFECTS", (0.05,))
    monkeypatch.setattr(calibration, "STAGES", (6,))
    recorded = [{"a": float(number), "b": 100.0 + number} for number in range(1, 20)]
    flips: set[bool] = set()
    compared = 0

    def look(first: Any, second: Any, gate: float) -> Any:
        nonlocal compared
        compared += 1
        a, b = ([*first[cell], *second[cell]] for cell in (0, 1))
        drawn = [round(abs(figure)) for figure in a]
        assert len(drawn) == len(set(drawn)) == 12
        assert [round(abs(figure)) - 100 for figure in b] == drawn
        assert [figure > 0 for figure in a] == [figure > 0 for figure in b]
        flips.update(figure > 0 for figure in a)
        return decide(first, second, gate)

    monkeypatch.setattr(calibration, "suspects", lambda *_: [0, 1])
    monkeypatch.setattr(calibration, "decide", look)
    calibrate(recorded, GATE)
    assert compared == 140
    assert flips == {True, False}


# What a plan promises


def a_plan(found: Sequence[int], false_alarms: int = 0) -> PairsPlan:
    """Return a plan that found so many of 200 of each effect."""
    power = {effect: CountRate(each, 200) for effect, each in zip(EFFECTS, found, strict=True)}
    return PairsPlan(6, CountRate(false_alarms, 400), power)


def test_the_smallest_effect_is_the_first_that_four_of_five_comparisons_find() -> None:
    assert a_plan([10, 159, 160, 190, 200, 200]).smallest_effect == 0.04
    assert a_plan([160] * 6).smallest_effect == 0.02
    assert a_plan([159] * 6).smallest_effect is None


@given(
    found=st.lists(st.integers(0, 200), min_size=6, max_size=6),
    more=st.lists(st.integers(0, 200), min_size=6, max_size=6),
)
def test_more_power_never_makes_the_smallest_effect_larger(
    found: list[int], more: list[int]
) -> None:
    at_least = [max(pair) for pair in zip(found, more, strict=True)]
    before, after = a_plan(found).smallest_effect, a_plan(at_least).smallest_effect
    assert (after or math.inf) <= (before or math.inf)


@pytest.mark.parametrize(
    ("found_of_5_percent", "false_alarms", "enough"),
    [(190, 4, True), (189, 4, False), (190, 5, False)],
)
def test_enough_is_at_most_1_percent_false_alarms_and_95_percent_found(
    found_of_5_percent: int, false_alarms: int, enough: bool
) -> None:
    plan = a_plan([0, 100, 150, found_of_5_percent, 200, 200], false_alarms)
    assert plan.is_enough == enough


def test_a_calibration_shows_each_cell_and_number_of_pairs_and_recommends_the_fewest() -> None:
    weak, enough = a_plan([0, 0, 0, 0, 10, 20]), a_plan([20, 100, 170, 195, 200, 200], 1)
    plans = [weak, enough._replace(pairs=8), enough._replace(pairs=10)]
    spread = {"eager n512": 0.0171, "flex n512": 0.0216}
    shown = calibration.Calibration(40, spread, -0.034, plans)
    text = calibration_table.render(shown, "simple")
    lines = text.splitlines()
    assert lines[0] == "40 pairs of the same code; correlation of successive pairs -0.03"
    assert [line.split() for line in lines if "n512" in line] == [
        ["eager", "n512", "1.71"],
        ["flex", "n512", "2.16"],
    ]
    (row,) = (line for line in lines if line.startswith("8 "))
    assert str(CountRate(1, 400)) in row
    assert row.split()[-6:] == ["10%", "50%", "85%", "98%", "100%", "100%"]
    recommended = " ".join(text.rpartition("\n\n")[2].split())
    assert recommended.startswith("Recommended: --pairs 8; ")
    assert "4%; --gate 4% " in recommended


SHOWN = calibration.Calibration(40, {"eager n512": 0.0171}, -0.034, [a_plan([190] * 6, 1)])


def test_in_markdown_both_tables_are_markdown() -> None:
    parts = calibration_table.render(SHOWN, "github").split("\n\n")
    assert [part.splitlines()[1].strip("|-:") for part in parts[1:3]] == ["", ""]
    assert parts[1].startswith("| cell ")
    assert parts[2].startswith("| pairs ")


def test_programs_get_every_rate_beside_the_comparison() -> None:
    comparison = Comparison("itself", "this tree", [], [])
    told = json.loads(calibration_table.render(SHOWN, "json", comparison))
    assert (told["base"], told["regressed"]) == ("itself", False)
    rates = told["rates"]
    assert (rates["pairs"], rates["spread"]) == (40, {"eager n512": 0.0171})
    assert rates["recommended"] == {"pairs": 6, "gate": 0.02}
    (plan,) = rates["plans"]
    assert plan["false_alarms"]["found"] == 1
    assert plan["false_alarms"]["bounds"] == pytest.approx(CountRate(1, 400).bounds)
    assert [each["slowdown"] for each in plan["found"]] == list(EFFECTS)


def test_where_there_are_no_rates_every_form_says_so() -> None:
    assert json.loads(calibration_table.render(None, "json")) == {"rates": None}
    assert calibration_table.render(None, "github") == calibration_table.TOO_FEW
