"""The interval of a median keeps its word, and sampling stops when it may and no sooner."""

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite.race.stopping import median_interval, reason_to_stop, thin
from tests.effort import examples

TRIALS = examples(2000)
calmly = settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
slowly = st.floats(1e-6, 5.0)
turn_lists = st.lists(st.lists(slowly, min_size=1, max_size=8), max_size=12)


@pytest.mark.parametrize("count", range(6))
def test_fewer_than_six_samples_have_no_interval(count: int) -> None:
    assert median_interval([1.0] * count) is None


@calmly
@given(samples=st.lists(slowly, min_size=6, max_size=60))
def test_an_interval_is_made_of_two_samples_around_the_median(samples: list[float]) -> None:
    ordered = sorted(samples)
    interval = median_interval(ordered)
    assert interval is not None
    low, high = interval
    assert low in ordered
    assert high in ordered
    assert low <= ordered[(len(ordered) - 1) // 2] <= ordered[len(ordered) // 2] <= high


@pytest.mark.parametrize("count", [6, 7, 20, 37, 64, 200, 999, 1100, 3000])
def test_an_interval_covers_the_median_in_95_of_100_and_the_next_narrower_does_not(
    count: int,
) -> None:
    ranks = median_interval(range(count))
    assert ranks is not None
    low, high = map(int, ranks)
    assert low == count - 1 - high
    outside = 2 * sum(math.comb(count, below) for below in range(low + 1))
    narrower = outside + 2 * math.comb(count, low + 1)
    assert 20 * outside <= 2**count < 20 * narrower


@pytest.mark.parametrize("count", [6, 9, 20, 75])
def test_the_true_median_is_covered_as_often_as_promised(count: int) -> None:
    random = Random(count)
    covered = 0
    for _ in range(TRIALS):
        interval = median_interval(sorted(random.lognormvariate(0, 1) for _ in range(count)))
        assert interval is not None
        covered += interval[0] <= 1 <= interval[1]
    assert covered / TRIALS >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / TRIALS)


def test_no_samples_are_no_reason_to_stop() -> None:
    assert reason_to_stop([]) is None
    assert reason_to_stop([[], []]) is None


@calmly
@given(turns=turn_lists)
def test_nothing_stops_before_six_samples_in_three_rounds(turns: list[list[float]]) -> None:
    if len(turns) < 3 or sum(map(len, turns)) < 6:
        assert reason_to_stop(turns) is None


@calmly
@given(turns=st.lists(st.lists(st.floats(1e-6, 0.05), min_size=1, max_size=8), max_size=12))
def test_a_fast_call_does_not_stop_before_20_samples_in_five_rounds(
    turns: list[list[float]],
) -> None:
    if len(turns) < 5 or sum(map(len, turns)) < 20:
        assert reason_to_stop(turns) is None


@calmly
@given(turns=st.lists(st.lists(slowly, min_size=4, max_size=8), min_size=5, max_size=12))
def test_past_the_cap_everything_stops(turns: list[list[float]]) -> None:
    if sum(map(sum, turns)) >= 1:
        assert reason_to_stop(turns) is not None


@pytest.mark.parametrize("call_s", [1e-5, 1e-3, 0.04])
def test_constant_samples_stop_as_soon_as_they_may(call_s: float) -> None:
    assert reason_to_stop([[call_s] * 4] * 5) == "median known within 2%"
    assert reason_to_stop([[call_s] * 4] * 4 + [[call_s] * 3]) is None
    assert reason_to_stop([[call_s] * 5] * 4) is None


@pytest.mark.parametrize("call_s", [0.5, 1.5, 60.0])
def test_constant_slow_samples_stop_after_six_in_three_rounds(call_s: float) -> None:
    assert reason_to_stop([[call_s] * 2] * 3) == "median known within 2%"
    assert reason_to_stop([[call_s] * 3] * 2) is None
    assert reason_to_stop([[call_s] * 2, [call_s] * 2, [call_s]]) is None


def test_a_median_that_is_not_known_yet_goes_on_to_the_cap() -> None:
    spread = [0.008, 0.012]
    assert reason_to_stop([spread * 2] * 5) is None
    assert reason_to_stop([spread * 2] * 24) is None
    assert reason_to_stop([spread * 2] * 26) == "cap of 1 s"


@pytest.mark.parametrize(("half", "known"), [(0.019, True), (0.021, False)])
def test_a_median_is_known_when_its_interval_reaches_2_percent_to_either_side(
    half: float, known: bool
) -> None:
    turns = [[0.01 * (1 - half), 0.01 * (1 + half)] * 2] * 5
    assert reason_to_stop(turns) == ("median known within 2%" if known else None)


def test_one_wild_sample_does_not_keep_a_known_median_going() -> None:
    assert reason_to_stop([[0.01] * 4] * 5 + [[0.01, 0.03]]) == "median known within 2%"


numbered = st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=300), max_size=40).map(
    lambda turns: list(enumerate(turns, start=1))
)


@calmly
@given(turns=numbered)
def test_at_most_200_samples_are_kept_and_one_of_every_turn(
    turns: list[tuple[int, list[int]]],
) -> None:
    kept = thin(turns)
    assert [number for number, _ in kept] == [number for number, _ in turns]
    assert all(samples for _, samples in kept)
    assert sum(len(samples) for _, samples in kept) <= max(200, len(turns))


@calmly
@given(turns=numbered)
def test_what_is_kept_was_taken_in_that_order(turns: list[tuple[int, list[int]]]) -> None:
    for (_, samples), (_, own) in zip(turns, thin(turns), strict=True):
        rest = iter(samples)
        assert all(sample in rest for sample in own)


def test_more_turns_than_samples_to_keep_have_one_sample_each() -> None:
    turns = [(number, [number, number + 1]) for number in range(1, 302)]
    assert thin(turns) == tuple((number, (number,)) for number, _ in turns)


def test_few_samples_are_all_kept() -> None:
    turns = [(number, [number, number + 1]) for number in range(1, 101)]
    assert thin(turns) == tuple((number, tuple(own)) for number, own in turns)


@pytest.mark.parametrize("taken", [41, 99, 1000])
def test_what_is_kept_is_spread_evenly_over_its_turn(taken: int) -> None:
    _, own = thin([(number, range(taken)) for number in range(5)])[0]
    assert len(own) == 40
    steps = {later - sooner for sooner, later in pairwise(own)}
    assert max(steps) - min(steps) <= 1
    assert taken - own[-1] <= max(steps) + 1


def test_the_cap_counts_elapsed_seconds_and_not_calls() -> None:
    noisy = [[1e-5, 1.3e-5] * 25] * 20
    assert reason_to_stop(noisy, calls_per_sample=1) is None
    assert reason_to_stop(noisy, calls_per_sample=100) == "cap of 1 s"
