"""Turns that heat or a power brake slowed are repeated, over invented traces of the SM clock."""

from collections.abc import Sequence

import pytest

from suite.nvml import Absent, Clock, Gpu
from suite.protocol import Sampled
from suite.series import Samples
from suite.throttling import REPEATS, steady_turn

STEADY = Clock(1980, ())
CAPPED = Clock(1700, ("power cap",))
HOT = Clock(1200, ("thermal, driver",))
BRAKED = Clock(900, ("power brake", "hardware slowdown"))


class TracedGpu(Gpu):
    """A GPU whose clock follows a trace and stays at its end."""

    def __init__(self, trace: Sequence[Clock | Absent]) -> None:
        super().__init__(handle=None)
        self._trace = list(trace)

    def clock(self) -> Clock | Absent:
        return self._trace.pop(0) if len(self._trace) > 1 else self._trace[0]


class Turns:
    """Counts the turns taken; each one's sample is its number."""

    taken = 0

    def __call__(self) -> Sampled:
        self.taken += 1
        return Sampled([Samples("device", [self.taken])], 1)


@pytest.mark.parametrize(
    ("trace", "kept", "throttled", "clocks"),
    [
        ([STEADY], 1, 0, [1980, 1980]),
        ([CAPPED], 1, 0, [1700, 1700]),
        ([STEADY, HOT, STEADY, STEADY], 2, 1, [1980, 1980]),
        ([HOT, STEADY, BRAKED, STEADY, STEADY], 3, 2, [1980, 1980]),
        ([HOT], 1 + REPEATS, 1 + REPEATS, [1200, 1200]),
    ],
    ids=["steady", "at its power cap", "hot after it", "hot, then braked", "always hot"],
)
def test_a_throttled_turn_is_repeated_and_counted(
    trace: list[Clock | Absent], kept: int, throttled: int, clocks: list[int]
) -> None:
    turns = Turns()
    turn = steady_turn(turns, TracedGpu(trace))
    assert turn.sampled.series[0].samples_ns == [kept]
    assert turns.taken == kept
    assert (turn.throttled, turn.clocks_mhz) == (throttled, clocks)


def test_without_a_gpu_a_turn_is_a_turn() -> None:
    turn = steady_turn(Turns(), Absent("the run uses no GPU"))
    assert (turn.throttled, turn.clocks_mhz) == (0, [])


def test_a_driver_that_tells_no_clock_throttles_nothing() -> None:
    turn = steady_turn(Turns(), TracedGpu([Absent("NVML: Not Supported")]))
    assert (turn.throttled, turn.clocks_mhz) == (0, [])
