"""Whom a tie goes to, when an incumbent yields, and what an objective ranks by."""

import msgspec
import pytest

from reports.choosing.candidates import Rules
from suite.records.record import Series
from tests.records import a_check, a_time
from tests.reports.tunings import Times, case_of, memories, select, the_choice, tuning
from variants.selection.schema import Choice, Selection

NOISY = (0.9, 1.0, 1.13)


def selection_of(incumbent: str) -> Selection:
    """Return a selection that chose the variant when it was by far the fastest."""
    others = {"eager", "sdpa_key", "flex"} - {incumbent}
    file = tuning({incumbent: {512: 1.0}, **{name: {512: 9.0} for name in others}})
    selection = select(file).selection
    assert [choice.variant for choice in selection.choices] == [incumbent]
    return selection


def test_the_fastest_is_chosen_and_says_by_how_much() -> None:
    choice = the_choice(tuning({"eager": {512: 3.0}, "sdpa_key": {512: 2.0}, "flex": {512: 2.5}}))
    assert choice.variant == "sdpa_key"
    assert choice.why == "flex takes 1.25x (1.25 to 1.25)"
    assert [one.variant for one in choice.candidates] == ["sdpa_key", "flex", "eager"]
    assert [one.over_first for one in choice.candidates] == pytest.approx([1.0, 1.25, 1.5])


@pytest.mark.parametrize(("gain", "winner"), [(1.01, "eager"), (1.03, "flex")])
def test_a_tie_goes_to_the_simpler_unless_the_gain_is_over_two_percent(
    gain: float, winner: str
) -> None:
    eager = [gain * each for each in NOISY]
    choice = the_choice(tuning({"eager": {512: eager}, "flex": {512: (1.0, 1.0, 1.0)}}))
    assert choice.variant == winner
    assert ("tied with flex; the simplest" in choice.why) == (winner == "eager")


def test_a_sure_gain_however_small_is_no_tie() -> None:
    choice = the_choice(tuning({"eager": {512: 1.01}, "flex": {512: 1.0}}))
    assert choice.variant == "flex"


@pytest.mark.parametrize(
    ("gain", "stays"),
    [
        ((1.015,) * 3, True),
        ((1.06, 1.07, 1.05), False),
        ((1.0, 1.2, 1.3), True),
        ((0.9,) * 3, True),
    ],
)
def test_an_incumbent_yields_only_to_a_gain_over_two_percent_that_is_sure(
    gain: tuple[float, ...], stays: bool
) -> None:
    file = tuning({"eager": {512: gain}, "flex": {512: (1.0,) * 3}})
    choice = the_choice(file, before=selection_of("eager"))
    assert (choice.variant == "eager") is stays
    if stays and gain[0] > 1:
        assert choice.why.startswith("incumbent")


def test_an_incumbent_keeps_a_tie_with_a_simpler_one() -> None:
    file = tuning({"eager": {512: (1.0,) * 3}, "flex": {512: NOISY}})
    assert the_choice(file).variant == "eager"
    assert the_choice(file, before=selection_of("flex")).variant == "flex"


def test_an_incumbent_without_an_interval_against_it_stays() -> None:
    file = tuning({"eager": {512: (1.5,)}, "flex": {512: (1.0,)}})
    assert the_choice(file).variant == "flex"
    assert "measure 3 passes" in the_choice(file, before=selection_of("eager")).why


def test_an_incumbent_that_disagrees_by_now_is_gone() -> None:
    wrong = a_check(case_of(512), "eager", error=1.0)
    file = tuning({"eager": {512: 1.0}, "flex": {512: 5.0}}, wrong)
    choice = the_choice(file, before=selection_of("eager"))
    assert choice.variant == "flex"
    assert [one.variant for one in choice.candidates] == ["flex"]
    assert choice.why == "the only candidate"


def test_an_incumbent_is_held_against_the_fastest_and_not_the_simplest() -> None:
    times: Times = {
        "flex": {512: (1.0,) * 3},
        "eager": {512: [1.01 * each for each in NOISY]},
        "sdpa_key": {512: (1.028, 1.029, 1.027)},
    }
    choice = the_choice(tuning(times), before=selection_of("sdpa_key"))
    assert choice.variant == "eager"
    level: Times = {**times, "sdpa_key": {512: (1.0, 1.01, 0.98)}}
    choice = the_choice(tuning(level), before=selection_of("sdpa_key"))
    assert (choice.variant, choice.why) == ("sdpa_key", "incumbent, and the fastest, if not surely")


def test_auto_and_baselines_are_no_candidates() -> None:
    file = tuning({"auto": {512: 0.1}, "rope": {512: 0.1}, "eager": {512: 3.0}})
    assert [one.variant for one in the_choice(file).candidates] == ["eager"]


def test_those_that_never_raced_each_other_are_held_against_their_own_baselines() -> None:
    quick = tuning({"eager": {512: 1.0}})
    slow = tuning({"flex": {512: (0.80, 0.81, 0.79)}})
    records = [
        msgspec.structs.replace(one, turns=tuple((n, (2 * a, 2 * b)) for n, (a, b) in one.turns))
        if hasattr(one, "turns")
        else one
        for one in slow.records
    ]
    first, second = the_choice(quick, slow._replace(records=records)).candidates
    assert (first.variant, second.variant) == ("flex", "eager")
    assert second.time_ms < first.time_ms
    assert second.over_first == pytest.approx(1.25, rel=1e-2)
    assert second.over_first_ci is not None
    low, high = second.over_first_ci
    assert 1.2 < low < 1.24
    assert 1.26 < high < 1.4


def test_by_memory_the_least_is_chosen_whatever_its_time() -> None:
    mebibyte = 1 << 20
    weights = memories({"eager": 9 * mebibyte, "flex": 3 * mebibyte, "sdpa_key": 4 * mebibyte})
    file = tuning({"eager": {512: 1.0}, "flex": {512: 3.0}, "sdpa_key": {512: 2.0}}, *weights)
    choice = the_choice(file, rules=Rules("memory"))
    assert [(one.variant, one.score) for one in choice.candidates] == [
        ("flex", 4.0 * mebibyte),
        ("sdpa_key", 5.0 * mebibyte),
        ("eager", 10.0 * mebibyte),
    ]


def test_by_graph_the_least_time_on_the_device_is_chosen() -> None:
    case = case_of(512)
    device_ms = {"eager": 1.0, "flex": 2.0}
    times = [
        msgspec.structs.replace(
            a_time(case, name, 5.0 - ms, number),
            cost="issue",
            others=(Series("device", ((1, (round(ms * 1e6),)),)),),
        )
        for name, ms in device_ms.items()
        for number in (1, 2, 3)
    ]
    checks = [a_check(case, name, number) for name in device_ms for number in (1, 2, 3)]
    file = tuning({"no_bias": {512: 1.0}}, *times, *checks)
    by_graph, by_call = (the_choice(file, rules=Rules(one)) for one in ("graph", "eager"))
    assert (by_graph.variant, by_call.variant) == ("eager", "flex")
    assert [one.score for one in by_graph.candidates] == pytest.approx([1.0, 2.0])


def test_what_was_chosen_by_another_objective_is_no_incumbent() -> None:
    by_memory = msgspec.structs.replace(selection_of("flex"), objective="memory")
    file = tuning({"eager": {512: (1.0,) * 3}, "flex": {512: NOISY}})
    assert the_choice(file, before=by_memory).variant == "eager"


def test_every_choice_is_one_that_a_reader_takes() -> None:
    choice = the_choice(tuning({"eager": {512: 3.0}, "flex": {512: NOISY}}))
    assert msgspec.json.decode(msgspec.json.encode(choice), type=Choice) == choice
