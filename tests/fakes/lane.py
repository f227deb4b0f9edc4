"""A lane that computes nothing and starts at once, for tests of what its parent makes of faults.

As a process it reads its faults and paces from the environment: FAULTS and PACES are JSON.
"""

import json
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from random import Random

from suite.clocks.series import CanaryTimes, DeviceRate, Samples, TurnSamples
from suite.lanes.protocol import (
    Check,
    CheckAlone,
    CheckResult,
    DeviceRates,
    Done,
    FindLimits,
    Foresee,
    KernelNames,
    LaneAnswer,
    MemoryForecast,
    NameKernels,
    Prepare,
    Ready,
    Refusal,
    Replay,
    RunCanary,
    Slice,
    Step,
    Weigh,
    WeighResult,
    serve,
)

PlannedFault = tuple[str, int, str, str]
"""(module, q_len, step, kind): where a lane goes wrong, and how."""

Paces = Mapping[str, tuple[float, float]]
"""Of some modules, how much slower than others they are and how far their processes deviate."""

COMMAND = (sys.executable, "-S", "-m", "tests.fakes.lane")
KINDS = ("SIGKILL", "SIGSEGV", "exit", "hang", "nonsense", "failed", "unsupported")
SAMPLES_NS = [1_000_000] * 10
RIGHT: dict[type[Step], LaneAnswer] = {
    Foresee: MemoryForecast(0, 1 << 40),
    Check: CheckResult(True, 1e-3, 1e-2, "out, batch 0 head 0"),
    CheckAlone: CheckResult(True, 1e-3, 1e-2, "out, batch 1 head 0"),
    Slice: TurnSamples([Samples("call", SAMPLES_NS)], 1),
    Replay: TurnSamples([Samples("graph", SAMPLES_NS)], 1),
    RunCanary: CanaryTimes("an invented product", SAMPLES_NS),
    Weigh: WeighResult(3, 2, 1, None),
    NameKernels: KernelNames(["an_invented_kernel"]),
}


class Fate(BaseException):
    """What a lane meets instead of giving an answer: a signal, an exit, or no end."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    @property
    def exit_code(self) -> int:
        """The code with which a process ends that meets this."""
        return -signal.Signals[self.kind] if self.kind.startswith("SIG") else 7

    def meet(self) -> None:
        """Let this process meet it."""
        if self.kind == "hang":
            time.sleep(3600)
        if self.kind.startswith("SIG"):
            os.kill(os.getpid(), signal.Signals[self.kind])
        os._exit(self.exit_code)


class InventedLane:
    """A lane of one module: every step is answered rightly, unless a fault is planned for it."""

    def __init__(
        self, module: str, faults: Iterable[PlannedFault], paces: Paces, random: Random
    ) -> None:
        self._module = module
        self._faults = {(name, length, step): kind for name, length, step, kind in faults}
        factor, deviation = paces.get(module, (1.0, 0.0))
        self._factor = factor * math.exp(random.gauss(0.0, deviation))
        self._q_len, self._slowed_by = 0, 0.0

    def answer(self, step: Step) -> LaneAnswer:
        """Return the answer to a step. Raises Fate where the lane is to end or to hang."""
        if isinstance(step, Foresee | Prepare):
            self._q_len = step.case.q_len
        if isinstance(step, Prepare):
            self._slowed_by = step.slowed_by
        kind = self._faults.get((self._module, self._q_len, name_of(step)))
        if kind is not None:
            return wrong_answer(kind)
        if isinstance(step, Slice):
            return slice_answer(self._factor * (1 + self._slowed_by))
        return right(step)


def main(channel_number: str, parent: str, module: str, *_: str) -> None:
    """Serve as a process, which really meets its fate."""
    faults, paces = json.loads(os.environ["FAULTS"]), json.loads(os.environ["PACES"])
    lane = InventedLane(module, faults, paces, Random())
    try:
        serve(socket.socket(fileno=int(channel_number)), lane.answer)
    except Fate as fate:
        fate.meet()


def environment(faults: Iterable[PlannedFault] = (), paces: Paces | None = None) -> dict[str, str]:
    """Return the environment of lanes that are processes, started with `python -S`."""
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    return {
        "FAULTS": json.dumps(list(faults)),
        "PACES": json.dumps(paces or {}),
        "PYTHONPATH": packages,
    }


def name_of(step: Step) -> str:
    """Return the step's name; the two checks have two."""
    name = type(step).__name__
    return f"{name} {step.stage}" if isinstance(step, Check) else name


def right(step: Step) -> LaneAnswer:
    """Return what a good lane would answer."""
    if isinstance(step, FindLimits):
        return DeviceRates([DeviceRate(dtype, 1e12, 1e10) for dtype in step.dtypes])
    return RIGHT.get(type(step), Done(0.0))


def slice_answer(factor: float) -> LaneAnswer:
    """Return a slice of calls that take so many times a millisecond."""
    return TurnSamples([Samples("call", [round(factor * each) for each in SAMPLES_NS])], 1)


def wrong_answer(kind: str) -> LaneAnswer:
    """Return a wrong answer of this kind. Raises Fate where there is none."""
    if kind == "disagrees":
        return CheckResult(False, 1.0, 1e-2, "out, batch 0 head 0")
    if kind == "nonsense":
        return Ready()
    if kind == "failed":
        return Refusal("failed", "on demand")
    if kind == "unsupported":
        return Refusal("unsupported", "on demand")
    raise Fate(kind)


if __name__ == "__main__":
    main(*sys.argv[1:])
