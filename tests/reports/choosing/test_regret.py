"""What advice costs where it did not measure: priced on what it has not seen."""

import json

import msgspec
import pytest

from reports.choosing.regret import (
    Flips,
    PricedAdvice,
    between_lengths,
    flips,
    price_left_out,
    price_unseen,
)
from reports.choosing.regret_table import render, summary
from reports.choosing.split_results import split_passes, split_rounds
from suite.cases.case import Case
from suite.failures import BadRequest
from suite.records.record import Time
from suite.records.store import Results
from tests.records import a_case, a_check, a_machine
from tests.reports.tunings import SURE, Times, case_of, select, tuning

CROSSING: Times = {
    "eager": {512: 1.0, 1024: 2.0, 2048: 4.0},
    "flex": {512: 1.5, 1024: 2.5, 2048: 3.0},
}
"""By lines through 512 and 2048 flex takes 2.12 at 1024 and eager 2: eager is advised, rightly."""


def advice_at(length: int, found: list[PricedAdvice]) -> PricedAdvice:
    """Return what was priced at a length."""
    (one,) = (one for one in found if one.problem.kv_len == length)
    return one


def test_each_length_between_two_others_is_priced_without_its_own_times() -> None:
    found = price_left_out([tuning(CROSSING)])
    assert [one.problem.kv_len for one in found] == [1024]
    assert found[0].advised == found[0].fastest == "eager"
    assert found[0].regret == 0.0


def test_advice_that_the_left_out_length_belies_costs_what_it_takes_over_the_fastest() -> None:
    belied = {"eager": {**CROSSING["eager"], 1024: 3.0}, "flex": CROSSING["flex"]}
    (one,) = price_left_out([tuning(belied)])
    assert (one.advised, one.fastest) == ("eager", "flex")
    assert one.regret == pytest.approx(3.0 / 2.5 - 1)


def test_advice_that_did_not_run_there_is_lost_and_has_no_price() -> None:
    wrong = a_check(case_of(1024), "eager", error=1.0)
    (one,) = price_left_out([tuning(CROSSING, wrong)])
    assert (one.advised, one.regret) == ("eager", None)
    figures = summary([one, one._replace(regret=0.1)])
    assert figures is not None
    assert (figures.lost, figures.problems, figures.mean) == (1, 2, 0.1)


def test_lengths_never_measured_lie_in_the_middle_of_each_two() -> None:
    cases = between_lengths(select(tuning(CROSSING)).selection)
    assert [(case.q_len, case.kv_len) for case in cases] == [(724, 724), (1448, 1448)]
    assert {case.dtype for case in cases} == {"bfloat16"}


@pytest.mark.parametrize(
    ("measured", "middles"), [((512, 540), []), ((512, 540, 720), [624]), ((1, 2), [])]
)
def test_between_lengths_that_lie_close_together_nothing_is_asked(
    measured: tuple[int, ...], middles: list[int]
) -> None:
    close = select(tuning({"eager": dict.fromkeys(measured, 1.0)})).selection
    assert [case.kv_len for case in between_lengths(close)] == middles


def parity_race(by_parity: dict[str, tuple[float, float]]) -> Results:
    """Return a race at 724 in which odd rounds take one time in milliseconds and even another."""
    file = tuning({variant: {724: 1.0} for variant in by_parity})

    def alternate(time: Time) -> Time:
        odd, even = by_parity.get(time.variant, (1.0, 1.0))
        steady = SURE[time.pass_number - 1]
        turns = tuple(
            (place, (round((odd if place % 2 else even) * steady * 1e6),) * 2)
            for place in range(1, 7)
        )
        return msgspec.structs.replace(time, turns=turns)

    records = [alternate(one) if isinstance(one, Time) else one for one in file.records]
    return file._replace(records=records)


def test_the_fastest_is_picked_on_odd_rounds_and_both_are_priced_on_even_ones() -> None:
    race = parity_race({"eager": (3.0, 3.0), "flex": (2.0, 3.3)})
    one = advice_at(724, price_unseen([tuning(CROSSING)], [race]))
    assert (one.advised, one.fastest) == ("eager", "flex")
    assert one.regret == pytest.approx(3.0 / 3.3 - 1)


def test_what_was_measured_already_is_not_unseen() -> None:
    assert price_unseen([tuning(CROSSING)], [tuning(CROSSING)]) == []


def test_a_race_on_another_device_prices_nothing() -> None:
    race = tuning({"eager": {724: 2.0}}, header=a_machine(key="cpu-other"))
    with pytest.raises(BadRequest, match="hardware key cpu-other and not"):
        price_unseen([tuning(CROSSING)], [race])


def test_rounds_and_passes_are_cut_in_two_halves_that_share_nothing() -> None:
    files = [tuning(CROSSING), tuning(CROSSING)]

    def places(found: list[Results]) -> set[tuple[int, int]]:
        return {
            (number, one.pass_number)
            for number, file in enumerate(found)
            for one in file.records
            if isinstance(one, Time)
        }

    first, second = (places(split_passes(files, half)) for half in (0, 1))
    assert (first, second) == ({(0, 1), (0, 2), (0, 3)}, {(1, 1), (1, 2), (1, 3)})
    for parity in (0, 1):
        for file in split_rounds(files, parity):
            times = [one for one in file.records if isinstance(one, Time)]
            assert times
            assert all(place % 2 == parity for time in times for place, _ in time.turns)


def test_two_tunings_that_choose_differently_are_counted() -> None:
    other = {"eager": CROSSING["eager"], "flex": {512: 0.5, 1024: 2.5, 2048: 3.0}}
    assert flips([tuning(CROSSING), tuning(CROSSING)]) == Flips(0, 3)
    assert flips([tuning(CROSSING), tuning(other)]) == Flips(1, 3)
    assert flips([tuning(CROSSING), tuning({"eager": CROSSING["eager"]})]) == Flips(0, 0)


def test_figures_are_of_all_that_was_priced() -> None:
    (one,) = price_left_out([tuning(CROSSING)])
    regrets = [0.0] * 18 + [0.02, 0.20]
    figures = summary([one._replace(regret=each, bound=0.05) for each in regrets])
    assert figures is not None
    assert figures.mean == pytest.approx(0.011)
    assert (figures.at_95, figures.largest) == (0.02, 0.20)
    assert (figures.held, figures.bounded, figures.first) == (19, 20, 20)
    assert summary([]) is None


def test_figures_are_told_to_people_and_programs() -> None:
    found = {"Left out": price_left_out([tuning(CROSSING)]), "Unseen": []}
    text = render(found, Flips(1, 3), "simple")
    assert "Left out: 1 problems; regret 0.00% in the mean" in text
    assert "Unseen: nothing to price." in text
    lost = {"Unseen": [one._replace(regret=None) for one in found["Left out"]]}
    assert "Unseen: in all 1 the advised variant did not run." in render(
        lost, Flips(0, 0), "simple"
    )
    assert "chose differently for 1 of 3 (33%)" in text
    told = json.loads(render(found, Flips(1, 3), "json"))
    assert told["flips"] == {"flipped": 1, "problems": 3}
    assert told["Left out"]["summary"]["mean"] == 0.0
    assert told["Left out"]["priced"][0]["advised"] == "eager"
    assert told["Unseen"]["summary"] is None


RAGGED = msgspec.structs.replace(a_case(40, "bfloat16"), batch=2, seq_lens=(40, 20))
WINDOWED = msgspec.structs.replace(a_case(40, "bfloat16"), window=8)
WITH_NORMS = msgspec.structs.replace(a_case(40, "bfloat16"), q_len=1, mode="decode", norms=True)
IN_PAGES = msgspec.structs.replace(WITH_NORMS, norms=False, layout="paged")


def test_a_variant_that_another_interpreter_measured_is_not_the_fastest() -> None:
    crossed = {"eager": {724: 2.0}, "flex": {724: 1.0}, "sdpa_mask": {724: 3.0}}
    race = tuning(crossed)
    plan = msgspec.structs.replace(race.header.plan, pythons=(("flex", "/other/python"),))
    elsewhere = race._replace(header=msgspec.structs.replace(race.header, plan=plan))
    (priced,) = price_unseen([tuning(CROSSING)], [elsewhere])
    assert priced.fastest == "eager"


def test_a_race_that_other_interpreters_alone_have_run_prices_nothing() -> None:
    race = tuning({"eager": {724: 2.0}, "flex": {724: 1.0}})
    pythons = tuple((name, "/other/python") for name in race.header.plan.variants)
    plan = msgspec.structs.replace(race.header.plan, pythons=pythons)
    elsewhere = race._replace(header=msgspec.structs.replace(race.header, plan=plan))
    assert price_unseen([tuning(CROSSING)], [elsewhere]) == []


def test_a_race_on_recorded_inputs_is_priced_by_its_layer_though_the_shape_was_measured() -> None:
    file = tuning(CROSSING)
    recorded = msgspec.structs.replace(case_of(512), recording="tiny.safetensors#layer1@0123abcd")
    records = [
        msgspec.structs.replace(record, case=recorded)
        if getattr(record, "case", None) == case_of(512)
        else record
        for record in file.records
    ]
    (priced,) = price_unseen([file], [file._replace(records=records)])
    assert (priced.problem.kv_len, priced.regret) == (512, 0.0)
    assert "forward, tiny layer1" in render({"Unseen": [priced]}, Flips(0, 0), "simple")


@pytest.mark.parametrize(
    "other",
    [RAGGED, WINDOWED, WITH_NORMS, IN_PAGES],
    ids=["ragged", "window", "norms", "pages"],
)
def test_a_case_that_is_not_dense_is_neither_chosen_for_nor_priced(other: Case) -> None:
    file = tuning(CROSSING)
    records = [
        msgspec.structs.replace(one, case=other)
        if getattr(one, "case", None) == case_of(512)
        else one
        for one in file.records
    ]
    race = file._replace(records=records)
    selection = select(race).selection
    assert [one.problem.kv_len for one in selection.choices] == [1024, 2048]
    assert price_unseen([file], [race]) == []
