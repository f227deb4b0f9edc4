"""A turn that heat or a power brake slowed is no measurement: it is repeated, and counted."""

from collections.abc import Callable
from typing import NamedTuple

from suite.nvml import Absent, Clock, Gpu
from suite.protocol import Sampled

REPEATS = 3


class Turn(NamedTuple):
    """A turn's samples, how many turns were throttled, and the SM clocks seen around it, in MHz."""

    sampled: Sampled
    throttled: int
    clocks_mhz: list[int]


def steady_turn(take: Callable[[], Sampled], gpu: Gpu | Absent) -> Turn:
    """Take a turn, up to three times more while the GPU is throttled before or after it.

    The driver is asked around the turn and never inside, because a call of NVML can stall the
    submission of work. A fourth throttled turn is kept, and the count says so.
    """
    if isinstance(gpu, Absent):
        return Turn(take(), 0, [])
    throttled = 0
    while True:
        before = gpu.clock()
        sampled = take()
        after = gpu.clock()
        slowed = _is_throttled(before) or _is_throttled(after)
        throttled += slowed
        if not slowed or throttled > REPEATS:
            clocks = [one.sm_mhz for one in (before, after) if isinstance(one, Clock)]
            return Turn(sampled, throttled, clocks)


def _is_throttled(clock: Clock | Absent) -> bool:
    return isinstance(clock, Clock) and clock.throttled
