"""A lane: the child process that runs one variant, a step at a time, as its parent tells it.

    python -m suite.lane CHANNEL PARENT MODULE ANSWERS THREADS

CHANNEL is the number of an inherited socket, PARENT the process that the lane dies with. It also
offers itself first when the machine runs out of memory.
"""

import ctypes
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from suite import agreement, canary, clock, kernels, memory, prediction
from suite.case import Case
from suite.inputs import Inputs, draw, spec_of
from suite.protocol import (
    Answer,
    Check,
    Checked,
    Done,
    Drop,
    FirstCall,
    Named,
    NameKernels,
    Prepare,
    Ready,
    Refused,
    RunCanary,
    Sampled,
    Slice,
    Step,
    Weigh,
    Weighed,
    receive,
    send,
)
from variants.problem import Attention, Spec, Unsupported

_PR_SET_PDEATHSIG = 1
_step_decoder: msgspec.msgpack.Decoder[Step] = msgspec.msgpack.Decoder(Step)


@dataclass(frozen=True)
class Prepared:
    """A case made ready: what was drawn and what prepare returned."""

    case: Case
    seed: int
    spec: Spec
    inputs: Inputs
    attention: Attention

    def call(self) -> Callable[[], object]:
        """Return the call that is timed, without arguments."""
        attention, inputs = self.attention, self.inputs
        q, k, v, slopes, dout = inputs.q, inputs.k, inputs.v, inputs.slopes, inputs.dout
        if dout is None:
            return lambda: attention(q, k, v, slopes)

        def forward_and_backward() -> tuple[Tensor, ...]:
            return torch.autograd.grad(attention(q, k, v, slopes), (q, k, v), dout)

        return forward_and_backward


def main(channel_number: str, parent: str, module: str, answers: str, threads: str) -> None:
    """Serve steps until the parent hangs up."""
    _die_with(int(parent))
    _go_first_when_memory_runs_out()
    torch.set_num_threads(int(threads))
    torch.set_float32_matmul_precision("highest")
    device = torch.device("cpu")
    channel = socket.socket(fileno=int(channel_number))
    send(channel, Ready())
    prepared: Prepared | None = None
    while True:
        try:
            step = _step_decoder.decode(receive(channel, None))
        except (EOFError, OSError):
            return
        answer: Answer
        try:
            if isinstance(step, Prepare):
                prepared, answer = _prepare(step, module, device)
            elif isinstance(step, Drop):
                prepared, answer = None, Done(0.0)
            elif isinstance(step, RunCanary):
                answer = Sampled(canary.run(), 1)
            else:
                assert prepared is not None, f"{step} before Prepare"
                with torch.set_grad_enabled(prepared.spec.needs_grad):
                    answer = _take(step, prepared, biased=answers == "alibi")
        except Exception as error:  # noqa: BLE001 - whatever a variant raises is its answer
            prepared, answer = None, _refusal(error)
        send(channel, answer)


class TooLarge(Exception):  # noqa: N818 - a prediction, nothing has gone wrong yet
    """A case that can be told beforehand not to fit."""


def _prepare(step: Prepare, module: str, device: torch.device) -> tuple[Prepared, Done]:
    needed = prediction.predicted_bytes(step.case, module, device)
    available = prediction.available_bytes(device)
    if needed is not None and needed > available:
        raise TooLarge(
            f"needs about {needed / 1e9:.1f} GB and {available / 1e9:.1f} GB are free: "
            "shorten the length or reduce batch or heads"
        )
    spec = spec_of(step.case, device)
    inputs = draw(step.case, step.seed, "before", device)
    prepare = importlib.import_module(module).prepare
    start = time.perf_counter()
    attention = prepare(spec)
    seconds = time.perf_counter() - start
    return Prepared(step.case, step.seed, spec, inputs, attention), Done(seconds)


def _take(step: Step, prepared: Prepared, *, biased: bool) -> Answer:
    match step:
        case FirstCall():
            start = time.perf_counter()
            prepared.call()()
            return Done(time.perf_counter() - start)
        case Check(stage):
            return _check(prepared, stage, biased=biased)
        case Slice(calls_per_sample):
            return Sampled(*clock.take_slice(prepared.call(), calls_per_sample))
        case Weigh():
            inputs = prepared.inputs
            weight = memory.weigh(
                prepared.call(),
                prepared.attention,
                (inputs.q, inputs.k, inputs.v, inputs.slopes),
                prepared.spec.device,
            )
            return Weighed(**vars(weight))
        case NameKernels():
            return Named(kernels.of(prepared.call()))
    raise AssertionError(f"no such step: {step}")


def _check(prepared: Prepared, stage: str, *, biased: bool) -> Checked:
    inputs = prepared.inputs
    if stage == "after":
        inputs = draw(prepared.case, prepared.seed, stage, prepared.spec.device)
    found = agreement.check(
        prepared.attention, prepared.spec, inputs, biased=biased, seed=prepared.seed
    )
    return Checked(found.agrees, found.error, found.budget, found.where)


def _refusal(error: Exception) -> Refused:
    text = " ".join(str(error).split())[:500]
    if isinstance(error, Unsupported | NotImplementedError):
        return Refused("unsupported", text)
    if isinstance(error, TooLarge):
        return Refused("skipped", text)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text:
        return Refused("out_of_memory", text or "the allocator found no memory")
    return Refused("failed", f"{type(error).__name__}: {text}")


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def _go_first_when_memory_runs_out() -> None:
    Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main(*sys.argv[1:])
