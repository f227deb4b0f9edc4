"""A lane that computes nothing and starts at once, for tests of what its parent makes of faults.

The environment variable FAULTS is JSON: a list of [variant, q_len, step, kind].
"""

import json
import os
import signal
import socket
import sys
import time

import msgspec

from suite.protocol import (
    Answer,
    CanaryRan,
    Check,
    Checked,
    Done,
    FindLimits,
    Foresee,
    Foreseen,
    LimitsFound,
    Named,
    NameKernels,
    Prepare,
    Rate,
    Ready,
    Refused,
    Replay,
    RunCanary,
    Sampled,
    Slice,
    Step,
    Weigh,
    Weighed,
    receive,
    send,
)
from suite.series import Samples

KINDS = ("SIGKILL", "SIGSEGV", "exit", "hang", "nonsense", "failed", "unsupported")
SAMPLES_NS = [1_000_000] * 10
RIGHT: dict[type[Step], Answer] = {
    Foresee: Foreseen(0, 1 << 40),
    Check: Checked(True, 1e-3, 1e-2, "out, batch 0 head 0"),
    Slice: Sampled([Samples("call", SAMPLES_NS)], 1),
    Replay: Sampled([Samples("graph", SAMPLES_NS)], 1),
    RunCanary: CanaryRan("an invented product", SAMPLES_NS),
    Weigh: Weighed(1, 0, 1, None),
    NameKernels: Named([]),
}
_decoder: msgspec.msgpack.Decoder[Step] = msgspec.msgpack.Decoder(Step)


def main(channel_number: str, parent: str, module: str, *_: str) -> None:
    """Answer every step, unless a fault is planned for it."""
    channel = socket.socket(fileno=int(channel_number))
    told = json.loads(os.environ["FAULTS"])
    planned = {(name, length, step): kind for name, length, step, kind in told}
    q_len = 0
    send(channel, Ready())
    while True:
        try:
            step = _decoder.decode(receive(channel, None))
        except (EOFError, OSError):
            return
        if isinstance(step, Foresee | Prepare):
            q_len = step.case.q_len
        kind = planned.get((module, q_len, name_of(step)))
        send(channel, right(step) if kind is None else wrong(kind))


def name_of(step: Step) -> str:
    """Return the step's name; the two checks have two."""
    name = type(step).__name__
    return f"{name} {step.stage}" if isinstance(step, Check) else name


def right(step: Step) -> Answer:
    """Return what a good lane would answer."""
    if isinstance(step, FindLimits):
        return LimitsFound([Rate(dtype, 1e12, 1e10) for dtype in step.dtypes])
    return RIGHT.get(type(step), Done(0.0))


def wrong(kind: str) -> Answer:
    """Go wrong in one of the ways."""
    if kind == "hang":
        time.sleep(3600)
    if kind.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[kind])
    if kind == "exit":
        os._exit(7)
    if kind == "nonsense":
        return Ready()
    return Refused("failed" if kind == "failed" else "unsupported", "on demand")


if __name__ == "__main__":
    main(*sys.argv[1:])
