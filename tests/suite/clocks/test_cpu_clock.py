"""A slice warms up, takes samples long enough to read, and leaves the collector as it was."""

import gc
import time
from collections.abc import Callable

import pytest

from suite.clocks.cpu_clock import take_slice


def spinning(seconds: float, starts: list[float]) -> Callable[[], None]:
    """Return a call that takes at least so long and notes when it started."""

    def call() -> None:
        starts.append(time.perf_counter())
        while time.perf_counter() < starts[-1] + seconds:
            pass

    return call


@pytest.mark.parametrize("calls_per_sample", [1, 7])
def test_the_first_call_of_a_turn_is_in_no_sample(calls_per_sample: int) -> None:
    starts: list[float] = []
    samples, _ = take_slice(spinning(0.002, starts), calls_per_sample)
    assert len(starts) == 1 + calls_per_sample * len(samples)


@pytest.mark.parametrize("calls_per_sample", [1, 3, 50])
def test_the_number_of_calls_in_a_sample_is_kept_once_it_is_known(calls_per_sample: int) -> None:
    assert take_slice(spinning(0.0005, []), calls_per_sample)[1] == calls_per_sample


def test_a_sample_holds_all_of_its_calls() -> None:
    samples, _ = take_slice(spinning(0.002, []), 4)
    assert min(samples) >= 4 * 2_000_000


def test_a_fast_call_is_repeated_until_a_sample_can_be_read() -> None:
    taken = [take_slice(spinning(20e-6, []), 0) for _ in range(3)]
    samples, calls = max(taken, key=lambda slice_: slice_[1])
    assert 25 <= calls <= 50
    assert min(samples) >= 500_000


def test_a_call_of_many_milliseconds_is_a_sample_by_itself() -> None:
    assert take_slice(spinning(0.02, []), 0)[1] == 1


def test_a_slow_call_is_sampled_twice_at_least() -> None:
    starts: list[float] = []
    samples, calls = take_slice(spinning(0.06, starts), 0)
    assert (len(samples), calls, len(starts)) == (2, 1, 3)


def test_a_turn_is_a_slice_of_samples() -> None:
    samples, _ = take_slice(spinning(0.002, []), 1)
    assert sum(samples) >= 50_000_000
    assert sum(samples[:-1]) < 50_000_000


def test_nothing_is_collected_while_it_is_timed() -> None:
    seen = set()
    take_slice(lambda: seen.add(gc.isenabled()), 100)
    assert seen == {False}


def test_the_collector_works_again_afterwards() -> None:
    assert gc.isenabled()
    take_slice(lambda: None, 100)
    assert gc.isenabled()


def test_the_collector_works_again_after_a_call_that_raises() -> None:
    def call() -> None:
        raise RuntimeError("on demand")

    with pytest.raises(RuntimeError, match="on demand"):
        take_slice(call, 0)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        take_slice(lambda: None, 100)
        assert not gc.isenabled()
    finally:
        gc.enable()
