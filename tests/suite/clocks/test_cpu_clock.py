"""A slice warms up, takes samples long enough to read, and leaves the collector as it was."""

import gc

import pytest

from suite.clocks import cpu_clock
from suite.clocks.cpu_clock import SETTLE_S, SLICE_NS, take_slice
from suite.clocks.workload import RepeatedCall

MICROSECOND, MILLISECOND = 1_000, 1_000_000


class Clock:
    """A clock on which a call takes its time, a sleep is free, and nothing else takes any."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.calls = 0
        self.slept_s = 0.0

    def perf_counter_ns(self) -> int:
        """Return the time."""
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        """Note that so long was slept."""
        self.slept_s += seconds

    def call(self) -> None:
        """Take the time of a call."""
        self.calls += 1
        self.now_ns += self.call_ns

    def take(self, *nanoseconds: int) -> "Clock":
        """Let calls take so long, one after another, and all later ones as long as the last."""
        self._times = list(nanoseconds)
        return self

    @property
    def call_ns(self) -> int:
        """How long the next call takes."""
        return self._times.pop(0) if len(self._times) > 1 else self._times[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a clock in place of the machine's."""
    clock = Clock()
    monkeypatch.setattr(cpu_clock, "time", clock)
    return clock


@pytest.mark.parametrize("calls_per_sample", [1, 7])
def test_the_first_call_of_a_turn_is_in_no_sample(calls_per_sample: int, clock: Clock) -> None:
    call = clock.take(900 * MILLISECOND, 2 * MILLISECOND).call
    samples, _ = take_slice(RepeatedCall(call), calls_per_sample)
    assert clock.calls == 1 + calls_per_sample * len(samples)
    assert set(samples) == {calls_per_sample * 2 * MILLISECOND}


@pytest.mark.parametrize("calls_per_sample", [1, 3, 50])
def test_the_number_of_calls_in_a_sample_is_kept_once_it_is_known(
    calls_per_sample: int, clock: Clock
) -> None:
    call = clock.take(500 * MICROSECOND).call
    assert take_slice(RepeatedCall(call), calls_per_sample)[1] == calls_per_sample


@pytest.mark.parametrize(
    ("call_ns", "calls"), [(20 * MICROSECOND, 50), (30 * MICROSECOND, 34), (2 * MILLISECOND, 1)]
)
def test_a_fast_call_is_repeated_until_a_sample_lasts_a_millisecond(
    call_ns: int, calls: int, clock: Clock
) -> None:
    samples, found = take_slice(RepeatedCall(clock.take(call_ns).call), 0)
    assert found == calls
    assert set(samples) == {calls * call_ns}
    assert min(samples) >= MILLISECOND


def test_the_fastest_of_three_calls_says_how_many_make_a_sample(clock: Clock) -> None:
    slow_at_first = (9 * MILLISECOND, 800 * MICROSECOND, 100 * MICROSECOND, 500 * MICROSECOND)
    assert take_slice(RepeatedCall(clock.take(*slow_at_first).call), 0)[1] == 10


def test_a_call_of_many_milliseconds_is_a_sample_by_itself(clock: Clock) -> None:
    samples, calls = take_slice(RepeatedCall(clock.take(20 * MILLISECOND).call), 0)
    assert (samples, calls, clock.calls) == ([20 * MILLISECOND] * 3, 1, 4)


def test_a_slow_call_is_sampled_twice_at_least(clock: Clock) -> None:
    samples, calls = take_slice(RepeatedCall(clock.take(60 * MILLISECOND).call), 0)
    assert (samples, calls, clock.calls) == ([60 * MILLISECOND] * 2, 1, 3)


def test_a_turn_is_a_slice_of_samples_and_then_threads_settle(clock: Clock) -> None:
    samples, _ = take_slice(RepeatedCall(clock.take(2 * MILLISECOND).call), 1)
    assert sum(samples) >= SLICE_NS
    assert sum(samples[:-1]) < SLICE_NS
    assert clock.slept_s == SETTLE_S


def test_the_clock_of_the_machine_times_a_call_that_takes_a_while() -> None:
    samples, calls = take_slice(RepeatedCall(lambda: sum(range(50_000))), 0)
    assert calls >= 1
    assert len(samples) >= 2
    assert min(samples) > 0


def test_nothing_is_collected_while_it_is_timed(clock: Clock) -> None:
    seen = set()

    def call() -> None:
        clock.take(MILLISECOND).call()
        seen.add(gc.isenabled())

    take_slice(RepeatedCall(call), 100)
    assert seen == {False}


def test_the_collector_works_again_afterwards(clock: Clock) -> None:
    assert gc.isenabled()
    take_slice(RepeatedCall(clock.take(MILLISECOND).call), 100)
    assert gc.isenabled()


def test_the_collector_works_again_after_a_call_that_raises() -> None:
    def call() -> None:
        raise RuntimeError("on demand")

    with pytest.raises(RuntimeError, match="on demand"):
        take_slice(RepeatedCall(call), 0)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off(clock: Clock) -> None:
    gc.disable()
    try:
        take_slice(RepeatedCall(clock.take(MILLISECOND).call), 100)
        assert not gc.isenabled()
    finally:
        gc.enable()
