"""The CUDA clock over a simulated device: device and host are told apart whatever the call does."""

import statistics
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.clocks.cpu_clock import MIN_SAMPLES
from suite.clocks.cuda_clock import HOT_AND_WALL_EVERY, LONGEST_SPIN_NS, CudaClock, CudaTurn
from suite.clocks.series import SeriesName, Turns, cost
from suite.clocks.workload import RepeatedCall
from tests.fakes.simulated_stream import LAUNCH_NS, SimulatedStream


def samples(taken: CudaTurn) -> dict[SeriesName, list[int]]:
    return {series.name: series.samples_ns for series in taken.series}


def in_turns(*turns: CudaTurn) -> dict[SeriesName, Turns]:
    """Return the series of several turns as a contender holds them."""
    found: dict[SeriesName, list[tuple[int, list[int]]]] = {}
    for number, taken in enumerate(turns):
        for series in taken.series:
            found.setdefault(series.name, []).append((number, series.samples_ns))
    return dict(found)


@given(
    count=st.integers(1, 60),
    cold_us=st.integers(2, 3000),
    host_us=st.integers(0, 300),
)
@settings(max_examples=60, deadline=None)
def test_device_time_has_nothing_of_the_hosts_in_it(count: int, cold_us: int, host_us: int) -> None:
    stream = SimulatedStream()
    kernel_ns = cold_us * 1000
    call = stream.kernels(count, kernel_ns, kernel_ns // 2, host_us * 1000)
    found = samples(CudaClock(RepeatedCall(call), stream).take_slice())
    overhead_ns = 2 * LAUNCH_NS
    assert all(abs(one - count * kernel_ns) <= overhead_ns for one in found["device"])
    assert all(
        abs(one - count * kernel_ns // 2) <= overhead_ns + count for one in found["device_hot"]
    )
    assert all(one == count * (host_us * 1000 + LAUNCH_NS) for one in found["issue"])


def test_a_host_bound_sample_is_taken_again_and_counted_and_the_next_spin_is_long_enough() -> None:
    stream = SimulatedStream()
    clock = CudaClock(RepeatedCall(stream.kernels(50, 1000, 1000, host_ns=20_000)), stream)
    first, second = clock.take_slice(), clock.take_slice()
    assert first.retaken > 0
    assert second.retaken == 0


def test_one_hiccup_of_the_host_does_not_lengthen_every_later_spin() -> None:
    stream = SimulatedStream()
    plain = stream.kernels(1, 10_000, 10_000)
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        if calls == 12:
            stream.host_ns += 5_000_000
        plain()

    clock = CudaClock(RepeatedCall(call), stream)
    with_hiccup = samples(clock.take_slice())
    without = samples(clock.take_slice())
    assert len(with_hiccup["device"]) > 0.7 * len(without["device"])


def waiting_call(stream: SimulatedStream) -> Callable[[], None]:
    """Return a call that waits for the device in its middle."""
    kernel = stream.kernels(1, 500_000, 500_000)

    def call() -> None:
        kernel()
        stream.wait()
        kernel()

    return call


def call_elsewhere(stream: SimulatedStream) -> Callable[[], None]:
    """Return a call whose two milliseconds of work are not on this stream, but are waited for."""
    end_ns = 0
    wait = stream.wait

    def call() -> None:
        nonlocal end_ns
        stream.host_ns += LAUNCH_NS
        end_ns = max(end_ns, stream.host_ns) + 2_000_000

    def wait_for_both() -> None:
        wait()
        stream.host_ns = max(stream.host_ns, end_ns)

    stream.wait = wait_for_both  # type: ignore[method-assign]
    return call


@pytest.mark.parametrize("made", [waiting_call, call_elsewhere])
def test_a_call_that_cannot_be_queued_behind_a_spin_has_wall_time_only(
    made: Callable[[SimulatedStream], Callable[[], None]],
) -> None:
    stream = SimulatedStream()
    clock = CudaClock(RepeatedCall(made(stream)), stream)
    turns = [clock.take_slice() for _ in range(3)]
    assert set(samples(turns[-1])) == {"wall"}
    assert cost(in_turns(*turns)) == "wall"
    truth_ns = 1_000_000 if made is waiting_call else 2_000_000
    assert statistics.median(samples(turns[-1])["wall"]) == pytest.approx(truth_ns, rel=0.05)


def test_a_call_that_only_launches_is_not_taken_for_one_that_works_elsewhere() -> None:
    stream = SimulatedStream()
    clock = CudaClock(RepeatedCall(stream.kernels(200, 1000, 1000)), stream)
    for _ in range(3):
        assert {"device", "issue"} <= set(samples(clock.take_slice()))


def test_a_slow_call_has_its_least_samples_and_no_more() -> None:
    stream = SimulatedStream()
    taken = samples(
        CudaClock(RepeatedCall(stream.kernels(1, 400_000_000, 400_000_000)), stream).take_slice()
    )
    assert len(taken["device"]) == MIN_SAMPLES
    assert len(taken["wall"]) == len(taken["device_hot"]) == 1


def test_every_eighth_sample_has_its_hot_and_wall_companions() -> None:
    stream = SimulatedStream()
    taken = samples(CudaClock(RepeatedCall(stream.kernels(1, 50_000, 50_000)), stream).take_slice())
    assert len(taken["device"]) > 50
    assert (
        len(taken["wall"])
        == len(taken["device_hot"])
        == -(-len(taken["device"]) // HOT_AND_WALL_EVERY)
    )


@pytest.mark.parametrize(
    ("kernel_us", "host_us", "name"), [(100, 0, "device"), (2, 50, "issue"), (40, 300, "issue")]
)
def test_a_call_costs_the_larger_of_the_devices_time_and_the_hosts(
    kernel_us: int, host_us: int, name: str
) -> None:
    stream = SimulatedStream()
    clock = CudaClock(
        RepeatedCall(stream.kernels(5, kernel_us * 1000, kernel_us * 1000, host_us * 1000)), stream
    )
    assert cost(in_turns(clock.take_slice(), clock.take_slice())) == name


def test_on_the_cpu_a_call_costs_what_it_takes() -> None:
    assert cost({"call": [(1, [5])]}) == "call"


def test_no_spin_is_ever_longer_than_the_longest() -> None:
    stream = SimulatedStream()
    spins: list[int] = []
    spin = stream.spin

    def watch(duration_ns: int) -> None:
        spins.append(duration_ns)
        spin(duration_ns)

    stream.spin = watch  # type: ignore[method-assign]
    CudaClock(RepeatedCall(waiting_call(stream)), stream).take_slice()
    assert max(spins) == LONGEST_SPIN_NS
