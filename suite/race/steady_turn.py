"""A turn that heat, a power brake or other processes slowed is repeated, and counted.

The driver says whether heat or a power brake held the clock down. The kernel says how long threads
waited for a core. A turn's own times never decide, because slow turns would then be filtered out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from suite.clocks.series import TurnSamples
from suite.conditions.nvml import Absent, Clock, NvmlGpu

MOST_CORE_WAIT = 0.05
"""The share of a turn that the lane's threads may wait for a core before it counts as disturbed."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.8


class Turn(NamedTuple):
    """A turn's samples, how many attempts were throttled or disturbed, and SM clocks around it.

    `clocks_mhz` has the clock before and after the attempt that was recorded, in MHz, and
    `slowed_by` what lowered it in any attempt.
    """

    samples: TurnSamples
    throttled: int
    disturbed: int
    clocks_mhz: list[int]
    slowed_by: tuple[str, ...] = ()


@dataclass
class Patience:
    """The seconds that may still be spent in pauses before turns are repeated."""

    remaining_s: float

    def pause(self, attempt: int) -> bool:
        """Sleep before another attempt, longer each time; False if too few seconds remain."""
        pause_s = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S)
        if pause_s > self.remaining_s:
            return False
        self.remaining_s -= pause_s
        time.sleep(pause_s)
        return True


def steady_turn(take: Callable[[], TurnSamples], gpu: NvmlGpu | Absent, patience: Patience) -> Turn:
    """Take a turn; repeat it while it is throttled or disturbed and patience remains.

    A turn is disturbed if the lane's threads waited for a core for over 5% of it. NVML is read
    before and after the turn, never during it, because a call of NVML can stall the submission of
    work. If the disturbance outlasts the pauses, the last turn is recorded and counted as
    disturbed.
    """
    throttled = disturbed = attempt = 0
    slowed_by: dict[str, None] = {}
    while True:
        before = _clock(gpu)
        samples = take()
        after = _clock(gpu)
        clocks = [clock for clock in (before, after) if clock is not None]
        is_hot = any(clock.throttled for clock in clocks)
        slowed_by |= dict.fromkeys(reason for clock in clocks for reason in clock.slowed_by)
        is_disturbed = samples.waited_share > MOST_CORE_WAIT
        throttled += is_hot
        disturbed += is_disturbed
        if not (is_hot or is_disturbed) or not patience.pause(attempt):
            clocks_mhz = [clock.sm_mhz for clock in clocks]
            return Turn(samples, throttled, disturbed, clocks_mhz, tuple(slowed_by))
        attempt += 1


def _clock(gpu: NvmlGpu | Absent) -> Clock | None:
    clock = gpu if isinstance(gpu, Absent) else gpu.clock()
    return clock if isinstance(clock, Clock) else None
