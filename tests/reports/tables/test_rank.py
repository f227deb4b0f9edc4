"""Ratios, ranks and ties hold across heats, in which the baseline has raced more than once."""

import math
from dataclasses import dataclass

import msgspec
import pytest

from reports.tables.cells import groups
from reports.tables.estimates import mean_over_passes
from reports.tables.row import Row
from suite.records.record import Record
from tests.records import a_case, a_check, a_machine, a_plan, a_time, results

CASE = a_case()


@dataclass(frozen=True)
class Heat:
    """What each variant took in one heat of a pass, in milliseconds."""

    pass_number: int
    race: int
    ms: dict[str, float]


def rows_of(*heats: Heat) -> dict[str, Row]:
    """Return the rows by variant of a file with these heats."""
    records: list[Record] = []
    for heat in heats:
        for variant, ms in heat.ms.items():
            time = a_time(CASE, variant, ms, heat.pass_number)
            records += [
                a_check(CASE, variant, heat.pass_number),
                msgspec.structs.replace(time, race=heat.race),
            ]
    names = list(dict.fromkeys(name for heat in heats for name in heat.ms))
    passes = max(heat.pass_number for heat in heats)
    header = a_machine(a_plan(CASE, variants=names, passes=passes))
    (group,) = groups([results(header, *records)])
    return {row.variant: row for row in group.rows}


def test_a_ratio_is_taken_to_the_baseline_of_the_same_heat() -> None:
    rows = rows_of(
        Heat(1, 11, {"no_bias": 1.0, "eager": 3.0}), Heat(1, 12, {"no_bias": 2.0, "flex": 3.0})
    )
    assert rows["eager"].vs_no_bias == pytest.approx(3.0)
    assert rows["flex"].vs_no_bias == pytest.approx(1.5)


def test_heats_of_one_pass_are_one_replicate() -> None:
    rows = rows_of(
        *(
            Heat(number, 10 * number + heat, {"no_bias": ms, name: 2 * ms})
            for number in (1, 2, 3)
            for heat, name, ms in ((0, "eager", 1.0), (1, "flex", 4.0))
        )
    )
    assert rows["no_bias"].passes == 3
    assert rows["no_bias"].time_ms == pytest.approx(2.0)
    assert rows["no_bias"].time_ci_ms == pytest.approx((2.0, 2.0))


def test_variants_of_different_heats_are_tied_by_their_ratios_to_the_baseline() -> None:
    noise = {1: 1.0, 2: 1.02, 3: 0.98}
    rows = rows_of(
        *(
            Heat(number, 10 * number + heat, {"no_bias": speed, name: speed * ratio})
            for number, jitter in noise.items()
            for heat, name, speed, ratio in (
                (0, "flex", 1.0, 2.0),
                (1, "eager", 1.5, 2.01 * jitter),
            )
        )
    )
    assert (rows["flex"].rank, rows["eager"].rank) == (1, 2)
    assert rows["eager"].tied
    assert not rows["eager"].too_noisy


@pytest.mark.parametrize(("spread", "reaches", "noisy"), [(0.06, 1.18, False), (0.085, 1.26, True)])
def test_a_tie_is_noise_from_where_its_interval_reaches_over_1_25(
    spread: float, reaches: float, noisy: bool
) -> None:
    logs = [0.02 + step * spread for step in (-1, 0, 1)]
    rows = rows_of(
        *(
            Heat(number, number, {"no_bias": 1.0, "flex": 2.0, "eager": 2.0 * math.exp(log)})
            for number, log in enumerate(logs, start=1)
        )
    )
    interval = mean_over_passes(logs).interval
    assert interval is not None
    assert interval[1] == pytest.approx(reaches, abs=0.01)
    assert (rows["eager"].tied, rows["eager"].too_noisy) == (True, noisy)


def test_without_a_baseline_variants_of_different_heats_are_not_tied() -> None:
    rows = rows_of(
        *(Heat(n, 10 * n + (m == "eager"), {m: 2.0}) for n in (1, 2, 3) for m in ("eager", "flex"))
    )
    assert not any(row.tied for row in rows.values())


def test_auto_has_no_rank_of_its_own_and_takes_none_away() -> None:
    rows = rows_of(
        *(Heat(number, 0, {"no_bias": 1.0, "auto": 1.5, "eager": 1.6}) for number in (1, 2, 3))
    )
    assert (rows["auto"].rank, rows["auto"].break_even_calls) == (None, None)
    assert rows["eager"].rank == 1
    assert rows["auto"].vs_no_bias == pytest.approx(1.5)


def race_rows(ms: dict[str, list[float]], rounds: dict[str, list[int]]) -> dict[str, Row]:
    """Return the rows of one race in which variants took so many milliseconds in their rounds."""
    records: list[Record] = []
    for variant, by_round in ms.items():
        numbers = rounds.get(variant, range(1, len(by_round) + 1))
        records += [a_check(CASE, variant), a_time(CASE, variant, by_round, rounds=list(numbers))]
    (group,) = groups([results(a_machine(a_plan(CASE, variants=list(ms))), *records)])
    return {row.variant: row for row in group.rows}


def test_variants_are_ranked_by_the_ratio_of_shared_rounds() -> None:
    drift = [1.0] * 5 + [1.2] * 4
    rows = race_rows(
        {"no_bias": drift, "eager": [2.2] * 5, "flex": [2.4] * 4}, {"flex": [6, 7, 8, 9]}
    )
    assert rows["eager"].time_ms is not None
    assert rows["flex"].time_ms is not None
    assert rows["eager"].time_ms < rows["flex"].time_ms
    assert rows["flex"].vs_no_bias == pytest.approx(2.0)
    assert rows["eager"].vs_no_bias == pytest.approx(2.2)
    assert (rows["flex"].rank, rows["eager"].rank) == (1, 2)


def test_a_row_whose_ms_contradicts_its_ratio_is_not_ranked() -> None:
    calm, busy = 0.286, 15.9
    rows = race_rows(
        {"no_bias": [busy] * 3 + [calm] * 6, "eager": [27.7] * 3, "flex": [0.6] * 6},
        {"eager": [1, 2, 3], "flex": [4, 5, 6, 7, 8, 9]},
    )
    eager, flex = rows["eager"], rows["flex"]
    assert eager.vs_no_bias == pytest.approx(1.74, rel=0.01)
    assert flex.vs_no_bias == pytest.approx(2.1, rel=0.01)
    assert (eager.contradictory, eager.rank) == (True, None)
    assert (flex.contradictory, flex.rank) == (False, 1)


@pytest.mark.parametrize(("drift", "contradictory"), [(1.2, False), (1.3, True)])
def test_ms_contradict_a_ratio_from_a_factor_of_1_25_on(drift: float, contradictory: bool) -> None:
    rows = race_rows({"no_bias": [drift] * 3 + [1.0] * 6, "eager": [2 * drift] * 3}, {})
    assert rows["eager"].vs_no_bias == pytest.approx(2.0)
    assert rows["eager"].contradictory == contradictory
