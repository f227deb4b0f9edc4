"""The parent's clock beside the lane's, which a variant could replace or watch.

The parent checks from outside that a turn's samples add up to no more than the turn took, that
calls nobody inspects take about as long as timed ones, and that the lane's threads are at rest once
it has answered.
"""

import math
import os
import time
from pathlib import Path
from typing import NamedTuple

from suite.clocks.core_times import core_times, runnable_threads
from suite.clocks.series import TurnSamples
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.protocol import CallUninspected, Done, Slice

FACTOR = 3.0
"""How many times longer or shorter a call may be by the parent's clock than by the lane's.

Caches and clock speeds must raise no alarm. The figures that this is to catch are off by hundreds.
"""

STRETCH_NS = 50_000_000
MOST_CALLS = 1 << 20
ATTEMPTS = 4
MESSAGE_NS = 2_000_000
"""Time that a step and its answer may take beside the calls."""

SETTLE_S, WATCH_S, WATCHES = 0.02, 0.05, 8
MOST_WORK_AT_REST = 0.1


def timed_turn(lane: Handle, limit_s: float) -> TurnSamples:
    """Have a lane take a turn. Raises LaneFault as `Handle.ask` and `check_turn` do."""
    start_ns = time.monotonic_ns()
    turn = lane.ask(Slice(), TurnSamples, limit_s)
    check_turn(turn, time.monotonic_ns() - start_ns)
    return turn


def check_turn(turn: TurnSamples, elapsed_ns: int) -> None:
    """Raise LaneFault if the samples of a turn add up to more than the parent saw pass."""
    for series in turn.series:
        total_ns = sum(series.samples_ns)
        if min(series.samples_ns, default=1) < 1:
            raise LaneFault("implausible", "Slice", "a sample of no time: its clock stands still")
        if total_ns > elapsed_ns:
            raise LaneFault(
                "implausible",
                "Slice",
                f"samples of {total_ns / 1e6:.3g} ms in a turn that took {elapsed_ns / 1e6:.3g} ms "
                "by the parent's clock",
            )


def check_claim(lane: Handle, claimed_ns: float, limit_s: float, *, is_upper: bool) -> float:
    """Return a call's nanoseconds by the parent's clock, in the stretch that comes nearest.

    `claimed_ns` is the lane's figure. With `is_upper` it includes what other calls lack, such as
    clearing a cache or other processes' work, so calls may be any shorter. Raises LaneFault when
    the two clocks differ by more than a factor of 3 in every stretch, or when the lane works on
    after it has answered.
    """
    stretch = _stretch(lane, 1, limit_s)
    while stretch.elapsed_ns < STRETCH_NS and stretch.calls < MOST_CALLS:
        calls = math.ceil(1.2 * stretch.calls * STRETCH_NS / max(1, stretch.elapsed_ns))
        stretch = _stretch(lane, min(calls, MOST_CALLS), limit_s)
    nearest = stretch
    for _ in range(ATTEMPTS - 1):
        if nearest.factor(claimed_ns, is_upper) <= FACTOR:
            break
        stretch = _stretch(lane, stretch.calls, limit_s)
        nearest = min(nearest, stretch, key=lambda each: each.factor(claimed_ns, is_upper))
    _check_factor(nearest, claimed_ns, is_upper)
    _check_rest(lane)
    return nearest.elapsed_ns / nearest.calls


class _Stretch(NamedTuple):
    """Calls that the parent timed, and how long lane and parent waited for a core meanwhile."""

    calls: int
    elapsed_ns: int
    waited_ns: int

    def factor(self, claimed_ns: float, is_upper: bool) -> float:
        """Return how many times longer a call took than claimed, or shorter unless `is_upper`.

        Time that went to messages, or that other processes held the cores, makes no call longer.
        """
        working_ns = max(0, self.elapsed_ns - self.waited_ns - MESSAGE_NS)
        longer = working_ns / self.calls / claimed_ns
        shorter = claimed_ns / (self.elapsed_ns / self.calls)
        return longer if is_upper else max(longer, shorter)


def _stretch(lane: Handle, calls: int, limit_s: float) -> _Stretch:
    tasks = _tasks(lane)
    waited_ns = core_times().wait_ns + core_times(tasks).wait_ns
    start_ns = time.monotonic_ns()
    lane.ask(CallUninspected(calls), Done, limit_s)
    elapsed_ns = time.monotonic_ns() - start_ns
    waited_ns = core_times().wait_ns + core_times(tasks).wait_ns - waited_ns
    return _Stretch(calls, elapsed_ns, waited_ns)


def _check_factor(stretch: _Stretch, claimed_ns: float, is_upper: bool) -> None:
    if stretch.factor(claimed_ns, is_upper) <= FACTOR:
        return
    seen_ms = stretch.elapsed_ns / stretch.calls / 1e6
    raise LaneFault(
        "implausible",
        "CallUninspected",
        f"{claimed_ns / 1e6:.3g} ms a call by its own clock, {seen_ms:.3g} ms by the parent's: it "
        "replaces the clock, or acts otherwise when it is timed",
    )


def _check_rest(lane: Handle) -> None:
    """Raise LaneFault if the lane's threads work while it waits for a step.

    With the wait policy "active" OpenMP's threads never rest, and nothing can be said.
    """
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "active":
        return
    for _ in range(WATCHES):
        time.sleep(SETTLE_S)  # OpenMP's threads spin, with some libraries for 200 ms
        before_ns, start_ns = core_times(_tasks(lane)).run_ns, time.monotonic_ns()
        time.sleep(WATCH_S)
        worked_ns = core_times(_tasks(lane)).run_ns - before_ns
        works = worked_ns > MOST_WORK_AT_REST * (time.monotonic_ns() - start_ns)
        has_ended = worked_ns < 0  # a thread that took its time with it
        if not (works or has_ended or runnable_threads(_tasks(lane))):
            return
    raise LaneFault(
        "implausible",
        "CallUninspected",
        f"its threads worked on for {WATCHES * (SETTLE_S + WATCH_S):.1f} s after it had answered",
    )


def _tasks(lane: Handle) -> Path:
    return Path(f"/proc/{lane.process_id}/task")
