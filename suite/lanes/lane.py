"""A lane: the child process that runs one variant, and does one step after another for its parent.

    python -m suite.lanes.lane CHANNEL PARENT MODULE OPTIONS ANSWERS DEVICE THREADS

CHANNEL is the number of an inherited socket. PARENT is the id of the parent process, and the lane
is killed when that process ends. OPTIONS are the keyword arguments of the variant's prepare, in
JSON. When memory runs out, the kernel kills a lane before it kills any other process.
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

from suite.agreement.rotation import BrokenRule
from suite.clocks.machine_speed import find_limits, run_canary
from suite.clocks.timer import Bench
from suite.lanes.prepared_case import PreparedCase, Subject, TooLarge, foresee
from suite.lanes.protocol import (
    CallUninspected,
    Check,
    CheckAlone,
    DeviceRates,
    Done,
    Drop,
    EmptyCaches,
    FindLimits,
    FirstCall,
    Foresee,
    LaneAnswer,
    NameKernels,
    Prepare,
    Refusal,
    Replay,
    RunCanary,
    Slice,
    Step,
    Weigh,
    serve,
)
from variants.catalog import Answers
from variants.problem import Unsupported

_PR_SET_PDEATHSIG = 1
_OUT_OF_MEMORY_WORDS = ("can't allocate memory", "out of memory", "ALLOC_FAILED")


def main(
    channel_number: str,
    parent: str,
    module: str,
    options: str,
    answers: str,
    device: str,
    threads: str,
) -> None:
    """Answer steps until the parent closes the channel."""
    _die_with_parent(int(parent))
    _volunteer_for_oom_kill()
    torch.set_num_threads(int(threads))
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    subject = Subject(module, msgspec.json.decode(options), msgspec.convert(answers, Answers))
    channel = socket.socket(fileno=int(channel_number))
    lane = Lane(subject, Bench(_open_device(device)))
    serve(channel, lane.answer)


class Lane:
    """One variant, and the case that it is prepared for now, if there is one."""

    def __init__(self, subject: Subject, bench: Bench) -> None:
        self._subject = subject
        self._bench = bench
        self._prepared: PreparedCase | None = None

    def answer(self, step: Step) -> LaneAnswer:
        """Do a step and wait for the device, so that an error of the device is this step's."""
        try:
            answer = (
                self._answer_of_machine(step)
                or self._answer_alone(step)
                or self._answer_prepared(step)
            )
            self._bench.wait()
            return answer
        except Exception as error:  # noqa: BLE001 - an exception of the variant is an answer
            refusal = self._refusal(error)
        # After the except block the traceback is gone, and the tensors that it held are free.
        self._prepared = None
        if refusal.status in {"unsupported", "skipped"}:
            self._free_memory(drop=True)  # this lane lives on, beside lanes that need memory
        return refusal

    def _answer_of_machine(self, step: Step) -> LaneAnswer | None:
        """Do a step about the machine; return None for the others."""
        match step:
            case RunCanary():
                return run_canary(self._bench)
            case FindLimits(dtypes):
                return DeviceRates(find_limits(self._bench, dtypes))
        return None

    def _answer_alone(self, step: Step) -> LaneAnswer | None:
        """Do a step that needs no prepared case; return None for the others."""
        match step:
            case Foresee(case, needed_bytes):
                return foresee(self._subject, case, self._bench.device, needed_bytes)
            case Prepare(case, seed, slowed_by):
                self._prepared = PreparedCase(self._subject, case, seed, self._bench, slowed_by)
                return Done(self._prepared.prepare_s)
            case CheckAlone(case, seed):
                alone = PreparedCase(self._subject, case, seed, self._bench)
                with torch.set_grad_enabled(alone.spec.needs_grad):
                    return alone.check_uneven_too(seed)
            case Drop() | EmptyCaches():
                return self._free_memory(drop=isinstance(step, Drop))
        return None

    def _answer_prepared(self, step: Step) -> LaneAnswer:
        """Do a step of the prepared case."""
        prepared = self._prepared
        assert prepared is not None, f"{step} before Prepare"
        with torch.set_grad_enabled(prepared.spec.needs_grad):
            match step:
                case FirstCall():
                    return prepared.first_call()
                case Check(stage, rows_seed):
                    result = prepared.check(stage, rows_seed)
                    self._free_memory(drop=False)  # the oracle takes more memory than the call
                    return result
                case Slice() | CallUninspected() | Replay():
                    return _time(prepared, step)
                case Weigh():
                    return prepared.weigh()
                case NameKernels():
                    return prepared.name_kernels()
        raise AssertionError(f"no such step: {step}")

    def _free_memory(self, *, drop: bool) -> Done:
        """Free what CUDA's allocator holds and nobody uses; with `drop` also the prepared case."""
        if drop:
            self._prepared = None
        if self._bench.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
        return Done(0.0)

    def _refusal(self, error: Exception) -> Refusal:
        """Return the status and the text of an exception that a step raised."""
        text = " ".join(str(error).split())[:500]
        if isinstance(error, BrokenRule):
            return Refusal("disagrees", text)
        if isinstance(error, TooLarge):
            return Refusal("skipped", text)
        if isinstance(error, Unsupported | NotImplementedError):
            return self._check_context(Refusal("unsupported", text))
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
            words in text for words in _OUT_OF_MEMORY_WORDS
        ):
            return Refusal("out_of_memory", text or "the allocator found no memory")
        return Refusal("failed", f"{type(error).__name__}: {text}")

    def _check_context(self, refusal: Refusal) -> Refusal:
        """Return the refusal, or a failure if the device's context is broken.

        A lane that only declined would go on, and with a broken context it must not.
        """
        try:
            self._bench.wait()
        except RuntimeError as error:
            return Refusal("failed", f"{' '.join(str(error).split())[:300]} ({refusal.reason})")
        return refusal


def _time(prepared: PreparedCase, step: Slice | CallUninspected | Replay) -> LaneAnswer:
    """Call a prepared case in a turn, uninspected, or as replays of a CUDA graph."""
    match step:
        case Slice():
            return prepared.take_turn()
        case CallUninspected(calls):
            return prepared.call_uninspected(calls)
        case Replay():
            return prepared.replay()


def _open_device(name: str) -> torch.device:
    """Return the device by name; on CUDA make its context and cuBLAS's two workspaces first.

    Torch has a workspace for each thread, and runs backward on a second thread.
    """
    device = torch.device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        square = torch.ones(16, 16, device=device, requires_grad=True)
        torch.autograd.grad(torch.mm(square, square).sum(), square)
    return device


def _die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def _volunteer_for_oom_kill() -> None:
    """Have the kernel kill this process first when memory runs out."""
    Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main(*sys.argv[1:])
