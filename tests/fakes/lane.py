"""A lane that computes nothing and starts at once, for tests of what its parent makes of faults.

The environment variable FAULTS is JSON: a list of [module, q_len, step, kind]. PACES is JSON too:
of some modules, how much slower than others they are and how far their processes deviate.
"""

import json
import math
import os
import random
import signal
import socket
import sys
import time

import msgspec

from suite.clocks.series import CanaryTimes, DeviceRate, Samples, TurnSamples
from suite.lanes.protocol import (
    Check,
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
    receive,
    send,
)

KINDS = ("SIGKILL", "SIGSEGV", "exit", "hang", "nonsense", "failed", "unsupported")
SAMPLES_NS = [1_000_000] * 10
RIGHT: dict[type[Step], LaneAnswer] = {
    Foresee: MemoryForecast(0, 1 << 40),
    Check: CheckResult(True, 1e-3, 1e-2, "out, batch 0 head 0"),
    Slice: TurnSamples([Samples("call", SAMPLES_NS)], 1),
    Replay: TurnSamples([Samples("graph", SAMPLES_NS)], 1),
    RunCanary: CanaryTimes("an invented product", SAMPLES_NS),
    Weigh: WeighResult(1, 0, 1, None),
    NameKernels: KernelNames([]),
}
_decoder: msgspec.msgpack.Decoder[Step] = msgspec.msgpack.Decoder(Step)


def main(channel_number: str, parent: str, module: str, *_: str) -> None:
    """Answer every step, unless a fault is planned for it."""
    channel = socket.socket(fileno=int(channel_number))
    told = json.loads(os.environ["FAULTS"])
    planned = {(name, length, step): kind for name, length, step, kind in told}
    factor, deviation = json.loads(os.environ.get("PACES", "{}")).get(module, (1.0, 0.0))
    factor *= math.exp(random.gauss(0.0, deviation))
    q_len, slowed_by = 0, 0.0
    send(channel, Ready())
    while True:
        try:
            step = _decoder.decode(receive(channel, None))
        except (EOFError, OSError):
            return
        if isinstance(step, Foresee | Prepare):
            q_len = step.case.q_len
        if isinstance(step, Prepare):
            slowed_by = step.slowed_by
        kind = planned.get((module, q_len, name_of(step)))
        if kind is not None:
            send(channel, wrong(kind))
        elif isinstance(step, Slice):
            send(channel, paced(factor * (1 + slowed_by)))
        else:
            send(channel, right(step))


def name_of(step: Step) -> str:
    """Return the step's name; the two checks have two."""
    name = type(step).__name__
    return f"{name} {step.stage}" if isinstance(step, Check) else name


def right(step: Step) -> LaneAnswer:
    """Return what a good lane would answer."""
    if isinstance(step, FindLimits):
        return DeviceRates([DeviceRate(dtype, 1e12, 1e10) for dtype in step.dtypes])
    return RIGHT.get(type(step), Done(0.0))


def paced(factor: float) -> LaneAnswer:
    """Return a slice of calls that take so many times a millisecond."""
    return TurnSamples([Samples("call", [round(factor * each) for each in SAMPLES_NS])], 1)


def wrong(kind: str) -> LaneAnswer:
    """Go wrong in one of the ways."""
    if kind == "hang":
        time.sleep(3600)
    if kind.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[kind])
    if kind == "exit":
        os._exit(7)
    if kind == "disagrees":
        return CheckResult(False, 1.0, 1e-2, "out, batch 0 head 0")
    if kind == "nonsense":
        return Ready()
    return Refusal("failed" if kind == "failed" else "unsupported", "on demand")


if __name__ == "__main__":
    main(*sys.argv[1:])
