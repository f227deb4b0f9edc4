"""A turn that something else slowed is no measurement: it is repeated, and counted.

What slows a turn is known from other figures than its times: heat or a power brake by the driver's
word, other processes on the cores by the kernel's. No turn is judged by how long it took.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from suite.clocks.series import Sampled
from suite.conditions.nvml import Absent, Clock, NvmlGpu

WAITED_AT_MOST = 0.05
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.8


class Turn(NamedTuple):
    """A turn's samples, how many were repeated for what, and the SM clocks around it, in MHz."""

    sampled: Sampled
    throttled: int
    disturbed: int
    clocks_mhz: list[int]


@dataclass
class Patience:
    """How long turns may still be waited for, in seconds."""

    left_s: float

    def pause(self, attempt: int) -> bool:
        """Wait before another attempt, longer each time; False when patience is at its end."""
        pause_s = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S)
        if pause_s > self.left_s:
            return False
        self.left_s -= pause_s
        time.sleep(pause_s)
        return True


def steady_turn(take: Callable[[], Sampled], gpu: NvmlGpu | Absent, patience: Patience) -> Turn:
    """Take a turn, again while it is throttled or disturbed and there is patience.

    Disturbed is a turn in which the lane's threads waited for a core for over 5% of it. The driver
    is asked around the turn and never inside, because a call of NVML can stall the submission of
    work. What patience does not outlast is kept, and the counts say so.
    """
    throttled = disturbed = attempt = 0
    while True:
        before = _clock(gpu)
        sampled = take()
        after = _clock(gpu)
        is_hot = any(clock is not None and clock.throttled for clock in (before, after))
        is_disturbed = sampled.waited_share > WAITED_AT_MOST
        throttled += is_hot
        disturbed += is_disturbed
        if not (is_hot or is_disturbed) or not patience.pause(attempt):
            clocks = [clock.sm_mhz for clock in (before, after) if clock is not None]
            return Turn(sampled, throttled, disturbed, clocks)
        attempt += 1


def _clock(gpu: NvmlGpu | Absent) -> Clock | None:
    clock = gpu if isinstance(gpu, Absent) else gpu.clock()
    return clock if isinstance(clock, Clock) else None
