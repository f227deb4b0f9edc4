"""Intervals over passes cover the truth as often as they say, and ratios are paired by round."""

import math
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.tables.estimates import log_median_ms, log_ratio, mean_over_passes
from suite.records.record import Time
from tests.records import a_case, a_time

CASE = a_case()
TRIALS = 2000
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
figures = st.floats(0.001, 1000)


def ratio(time: Time, base: Time) -> float:
    """Return the paired ratio of two times that share a round."""
    log = log_ratio(time, base)
    assert log is not None
    return math.exp(log)


@pytest.mark.parametrize("passes", [3, 4, 8])
@pytest.mark.parametrize("spread", [0.01, 0.3])
def test_the_true_figure_is_covered_95_times_in_100(passes: int, spread: float) -> None:
    random = Random(passes)
    truth = 12.5
    covered = 0
    for _ in range(TRIALS):
        logs = [random.gauss(math.log(truth), spread) for _ in range(passes)]
        interval = mean_over_passes(logs).interval
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert abs(covered / TRIALS - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / TRIALS)


@pytest.mark.parametrize("passes", [1, 2])
def test_fewer_than_three_passes_have_no_interval(passes: int) -> None:
    assert mean_over_passes([0.1] * passes).interval is None


@calmly
@given(logs=st.lists(figures.map(math.log), min_size=3, max_size=9))
def test_an_interval_is_about_its_figure(logs: list[float]) -> None:
    value, interval = mean_over_passes(logs)
    assert interval is not None
    low, high = interval
    assert low <= value * (1 + 1e-9)
    assert high >= value * (1 - 1e-9)
    assert low * high == pytest.approx(value**2, rel=1e-6)


def test_the_figure_of_several_passes_is_their_geometric_mean() -> None:
    assert mean_over_passes([math.log(2), math.log(8)]).value == pytest.approx(4)


def test_passes_that_are_all_alike_have_an_interval_without_width() -> None:
    value, interval = mean_over_passes([math.log(3)] * 4)
    assert interval == pytest.approx((value, value))


def test_a_pass_s_figure_is_the_median_of_its_samples() -> None:
    assert math.exp(log_median_ms(a_time(CASE, "eager", [1, 9, 2, 3, 100]))) == pytest.approx(3)


@pytest.mark.parametrize("calls", [1, 3, 40])
def test_a_sample_of_many_calls_counts_as_one_call(calls: int) -> None:
    time = a_time(CASE, "eager", 0.25, calls_per_sample=calls)
    assert math.exp(log_median_ms(time)) == pytest.approx(0.25)


@calmly
@given(drift=st.lists(figures, min_size=1, max_size=12), true_ratio=st.floats(0.1, 10))
def test_a_drift_that_both_share_cancels(drift: list[float], true_ratio: float) -> None:
    time = a_time(CASE, "eager", [true_ratio * each for each in drift])
    base = a_time(CASE, "no_bias", drift)
    assert ratio(time, base) == pytest.approx(true_ratio, rel=0.01)


def test_only_rounds_that_both_took_are_paired() -> None:
    base = a_time(CASE, "no_bias", [1, 1, 1, 5, 1, 1, 1, 9])
    time = a_time(CASE, "eager", [10, 18], rounds=[4, 8])
    assert ratio(time, base) == pytest.approx(2)
    assert ratio(base, time) == pytest.approx(0.5)


def test_one_wild_round_does_not_move_a_ratio() -> None:
    base = a_time(CASE, "no_bias", [1, 1, 1, 1, 1])
    assert ratio(a_time(CASE, "eager", [3, 3, 400, 3, 3]), base) == pytest.approx(3)


@pytest.mark.parametrize(("calls", "calls_of_base"), [(1, 16), (16, 1), (5, 3)])
def test_samples_of_different_numbers_of_calls_are_paired_by_the_call(
    calls: int, calls_of_base: int
) -> None:
    time = a_time(CASE, "eager", 6.0, calls_per_sample=calls)
    base = a_time(CASE, "no_bias", 1.5, calls_per_sample=calls_of_base)
    assert ratio(time, base) == pytest.approx(4)


def test_without_a_round_in_common_there_is_no_ratio() -> None:
    time = a_time(CASE, "eager", [1, 1], rounds=[2, 4])
    base = a_time(CASE, "no_bias", [1, 1], rounds=[1, 3])
    assert log_ratio(time, base) is None


def test_rounds_of_two_races_are_never_paired() -> None:
    case = a_case()
    first, later = a_time(case, "flex"), a_time(case, "no_bias")
    assert log_ratio(first, later) is not None
    assert log_ratio(first, msgspec.structs.replace(later, race=2)) is None
