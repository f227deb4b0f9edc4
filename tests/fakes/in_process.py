"""Lanes that are threads of the tests' process, for tests of what their parent does with them.

A lane serves its end of a socket pair as a process does, with the same loop and the same messages.
It starts at once, and what would end a process ends the thread, with the code of a process.
"""

import os
import socket
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from random import Random
from threading import Thread
from typing import Any

import pytest

from suite.conditions import policy
from suite.conditions.policy import Policy
from suite.lanes import pool
from suite.lanes.handle import Handle, Launch, Process
from suite.lanes.protocol import (
    FindLimits,
    Foresee,
    LaneAnswer,
    RunCanary,
    Step,
    Weigh,
    receive,
    serve,
)
from tests.fakes.belief import BELIEFS
from tests.fakes.lane import Fate, InventedLane, Paces, PlannedFault, right
from variants.catalog import Variant

_INVENTED = Foresee | Weigh | RunCanary | FindLimits

Answer = Callable[[Step], LaneAnswer]
MakeLane = Callable[[Variant, str], Answer]
"""(variant, device) -> what a fresh lane of the variant answers."""


class LaneThread:
    """A lane as a thread, which can be waited for as a process can."""

    def __init__(self, channel: socket.socket, answer: Answer) -> None:
        self.pid = os.getpid()
        self._channel = channel
        self._lane = answer
        self._hangs: SimpleQueue[bool] = SimpleQueue()
        self._exit_code = 0
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once the thread has ended."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired("a lane in this process", timeout or 0.0)
        return self._exit_code

    def hangs(self) -> bool:
        """Wait until the next step is done; return whether it hangs instead."""
        return self._hangs.get()

    def _serve(self) -> None:
        with self._channel:
            try:
                serve(self._channel, self._answer)
            except Fate as fate:
                self._exit_code = fate.exit_code
            except (EOFError, OSError):
                """The parent closed the channel rather than wait any longer."""

    def _answer(self, step: Step) -> LaneAnswer:
        hangs = False
        try:
            return self._lane(step)
        except Fate as fate:
            hangs = fate.kind == "hang"
            raise
        finally:
            self._hangs.put(hangs)
            if hangs:
                receive(self._channel, None)


class InProcessHandle(Handle):
    """A handle whose lane is a thread; a lane that hangs is over its limit at once."""

    def __init__(self, make_lane: MakeLane, variant: Variant, *rest: Any) -> None:
        """Start the lane that `make_lane` makes of the variant."""
        self._make_lane = make_lane
        super().__init__(variant, *rest)

    def _start_process(
        self,
        lane_channel: socket.socket,
        policy: Policy,
        compile_cache: Path,
        device: str,
        launch: Launch,
    ) -> Process:
        self._thread = LaneThread(lane_channel.dup(), self._make_lane(self.variant, device))
        return self._thread

    def _kill_process(self) -> None:
        self._channel.shutdown(socket.SHUT_RDWR)
        self._thread.wait()

    def _next_message(self, limit_s: float) -> bytes:
        if self._ready and self._thread.hangs():
            raise TimeoutError
        return super()._next_message(limit_s)


def start_lanes_in_process(monkeypatch: pytest.MonkeyPatch, make_lane: MakeLane) -> list[str]:
    """Let pools start lanes that are threads; return the list that their modules will be added to.

    Nothing is slept for while they race.
    """
    started: list[str] = []

    def start(variant: Variant, *rest: Any) -> InProcessHandle:
        started.append(variant.module)
        return InProcessHandle(make_lane, variant, *rest)

    monkeypatch.setattr(pool, "Handle", start)
    monkeypatch.setattr("suite.pairs.duel.SETTLE_S", 0.0)
    monkeypatch.setattr("suite.conditions.health.WATCH_S", 0.01)
    return started


def believe_invented_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the parent believe what its lanes say of time: invented lanes answer at once."""
    for module, name, belief in BELIEFS:
        monkeypatch.setattr(module, name, belief)


def start_invented_lanes_in_process(
    monkeypatch: pytest.MonkeyPatch,
    faults: Iterable[PlannedFault] = (),
    paces: Paces | None = None,
) -> list[str]:
    """Let pools start lanes that are threads and compute nothing, and believe their times."""
    believe_invented_times(monkeypatch)
    return start_lanes_in_process(monkeypatch, invented_lanes(faults, paces))


def invented_lanes(faults: Iterable[PlannedFault] = (), paces: Paces | None = None) -> MakeLane:
    """Return what makes lanes that compute nothing; their paces are the same in every run."""
    random = Random(0)
    return lambda variant, _: InventedLane(variant.module, faults, paces or {}, random).answer


def start_real_lanes_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pools start lanes that are threads and run their variant, in few short turns.

    Memory and the speed of the machine are invented, which take long to measure, and the parent
    believes the lanes' times. No turn is repeated because the machine is busy.
    """
    start_lanes_in_process(monkeypatch, real_lanes(_INVENTED))
    believe_invented_times(monkeypatch)
    take_short_turns(monkeypatch)


def real_lanes(invented: Any) -> MakeLane:
    """Return what makes lanes that run their variant, with `invented` answers to some steps."""
    import torch

    from suite.clocks.timer import Bench
    from suite.lanes.lane import Lane
    from suite.lanes.prepared_case import Subject

    def make_lane(variant: Variant, device: str) -> Answer:
        subject = Subject(variant.module, dict(variant.options), variant.answers)
        lane = Lane(subject, Bench(torch.device(device)))
        return lambda step: right(step) if isinstance(step, invented) else lane.answer(step)

    return make_lane


def take_few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a race, and a pair, end after the fewest turns of one thread, each taken as it is.

    Where other work on the machine slowed a turn, it is not repeated. Two threads that wait for
    each other in every call take many times as long beside other work.
    """
    of_cores = policy.policy
    monkeypatch.setattr(policy, "policy", lambda device, _: of_cores(device, 1))
    monkeypatch.setattr("suite.race.contender.PATIENCE_S", 0.0)
    monkeypatch.setattr("suite.pairs.duel.PATIENCE_S", 0.0)
    monkeypatch.setattr("suite.race.stopping.CAP_S", 0.002)


def take_short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let turns and races be over in some milliseconds."""
    monkeypatch.setattr("suite.clocks.cpu_clock.SLICE_NS", 1_000_000)
    monkeypatch.setattr("suite.clocks.cpu_clock.SAMPLE_NS", 100_000)
    monkeypatch.setattr("suite.clocks.cpu_clock.SETTLE_S", 0.0)
    take_few_turns(monkeypatch)
