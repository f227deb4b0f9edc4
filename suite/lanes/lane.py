"""A lane: the child process that runs one variant, a step at a time, as its parent tells it.

    python -m suite.lanes.lane CHANNEL PARENT MODULE OPTIONS ANSWERS DEVICE THREADS

CHANNEL is the number of an inherited socket, PARENT the process that the lane dies with, OPTIONS
are prepare's in JSON. It also offers itself first when the machine runs out of memory.
"""

import ctypes
import gc
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
import torch

from suite.clocks.machine_speed import find_limits, run_canary
from suite.clocks.timer import Bench
from suite.lanes.prepared_case import Prepared, Subject, TooLarge, foresee
from suite.lanes.protocol import (
    Check,
    Done,
    Drop,
    EmptyCaches,
    FindLimits,
    FirstCall,
    Foresee,
    LaneAnswer,
    LimitsFound,
    NameKernels,
    Prepare,
    Ready,
    Refused,
    Replay,
    RunCanary,
    Slice,
    Step,
    Weigh,
    receive,
    send,
)
from variants.catalog import Answers
from variants.problem import Unsupported

_PR_SET_PDEATHSIG = 1
_OUT_OF_MEMORY_WORDS = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
_step_decoder: msgspec.msgpack.Decoder[Step] = msgspec.msgpack.Decoder(Step)


def main(
    channel_number: str,
    parent: str,
    module: str,
    options: str,
    answers: str,
    device: str,
    threads: str,
) -> None:
    """Serve steps until the parent hangs up."""
    _die_with(int(parent))
    _go_first_when_memory_runs_out()
    torch.set_num_threads(int(threads))
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    subject = Subject(module, msgspec.json.decode(options), msgspec.convert(answers, Answers))
    channel = socket.socket(fileno=int(channel_number))
    lane = Lane(subject, Bench(_open_device(device)))
    send(channel, Ready())
    while True:
        try:
            step = _step_decoder.decode(receive(channel, None))
        except (EOFError, OSError):
            return
        send(channel, lane.answer(step))


class Lane:
    """One variant, with the case that it is prepared for at the moment."""

    def __init__(self, subject: Subject, bench: Bench) -> None:
        self._subject = subject
        self._bench = bench
        self._prepared: Prepared | None = None

    def answer(self, step: Step) -> LaneAnswer:
        """Do a step and wait for the device, so that whatever goes wrong is this step's."""
        try:
            answer = self._without_a_case(step) or self._with_the_case(step)
            self._bench.wait()
            return answer
        except Exception as error:  # noqa: BLE001 - whatever a variant raises is its answer
            refused = self._refusal(error)
        # Here the error is gone, and with it the tensors that its traceback held.
        self._prepared = None
        if refused.status in {"unsupported", "skipped"}:
            self._emptied(dropping=True)  # for this lane lives on, beside others that need memory
        return refused

    def _without_a_case(self, step: Step) -> LaneAnswer | None:
        match step:
            case Foresee(case):
                return foresee(self._subject, case, self._bench.device)
            case Prepare(case, seed, slowed_by):
                self._prepared = Prepared(self._subject, case, seed, self._bench, slowed_by)
                return Done(self._prepared.prepare_s)
            case Drop() | EmptyCaches():
                return self._emptied(dropping=isinstance(step, Drop))
            case RunCanary():
                return run_canary(self._bench)
            case FindLimits(dtypes):
                return LimitsFound(find_limits(self._bench, dtypes))
        return None

    def _with_the_case(self, step: Step) -> LaneAnswer:
        prepared = self._prepared
        assert prepared is not None, f"{step} before Prepare"
        with torch.set_grad_enabled(prepared.spec.needs_grad):
            match step:
                case FirstCall():
                    return prepared.first_call()
                case Check(stage):
                    checked = prepared.check(stage)
                    self._emptied(dropping=False)  # the oracle takes more than the call
                    return checked
                case Slice():
                    return prepared.take_turn()
                case Replay():
                    return prepared.replay()
                case Weigh():
                    return prepared.weigh()
                case NameKernels():
                    return prepared.name_kernels()
        raise AssertionError(f"no such step: {step}")

    def _emptied(self, *, dropping: bool) -> Done:
        if dropping:
            self._prepared = None
        if self._bench.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
        return Done(0.0)

    def _refusal(self, error: Exception) -> Refused:
        text = " ".join(str(error).split())[:500]
        if isinstance(error, TooLarge):
            return Refused("skipped", text)
        if isinstance(error, Unsupported | NotImplementedError):
            return self._unless_poisoned(Refused("unsupported", text))
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
            words in text for words in _OUT_OF_MEMORY_WORDS
        ):
            return Refused("out_of_memory", text or "the allocator found no memory")
        return Refused("failed", f"{type(error).__name__}: {text}")

    def _unless_poisoned(self, refused: Refused) -> Refused:
        """Return `refused`, or what broke the device's context: such a lane must not go on."""
        try:
            self._bench.wait()
        except RuntimeError as error:
            return Refused("failed", f"{' '.join(str(error).split())[:300]} ({refused.reason})")
        return refused


def _open_device(name: str) -> torch.device:
    """Return the device by name, with its context made and cuBLAS's workspaces taken.

    There are two: torch has one for each thread, and backward runs on a thread of its own.
    """
    device = torch.device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        square = torch.ones(16, 16, device=device, requires_grad=True)
        torch.autograd.grad(torch.mm(square, square).sum(), square)
    return device


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def _go_first_when_memory_runs_out() -> None:
    Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main(*sys.argv[1:])
