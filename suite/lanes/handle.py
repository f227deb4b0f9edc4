"""The parent's end of a lane: it starts the process, asks for steps, and ends it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TypeVar

import msgspec

from suite.conditions.policy import ROOT, Policy
from suite.conditions.temporary import EndsWithBlock
from suite.lanes.protocol import LaneAnswer, Ready, Refusal, Step, receive, send
from suite.recordings.names import FOLDER
from suite.records.record import Status
from variants.catalog import Variant

START_LIMIT_S = 120.0
HANG_UP_LIMIT_S = 5.0
_answer_decoder: msgspec.msgpack.Decoder[LaneAnswer] = msgspec.msgpack.Decoder(LaneAnswer)
_A = TypeVar("_A", bound=LaneAnswer)


class Launch(NamedTuple):
    """How a lane is started: the command, and the folder that Python imports the code from."""

    command: tuple[str, ...]
    folder: Path = ROOT


LAUNCH = Launch((sys.executable, "-m", "suite.lanes.lane"))


class Process(Protocol):
    """What a parent needs of a lane's process: its id, and how it ended."""

    @property
    def pid(self) -> int:
        """The process's id."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once the process has ended. Raises TimeoutExpired."""


class LaneFault(Exception):  # noqa: N818 - a cell's fate, not a bug
    """A step failed: the cell's status, the step's name and a reason."""

    def __init__(self, status: Status, step: str, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status
        self.step = step
        self.reason = reason


class Handle(EndsWithBlock):
    """A lane as its parent has it. As a context manager it ends the process on leaving."""

    def __init__(
        self,
        variant: Variant,
        policy: Policy,
        compile_cache: Path,
        device: str = "cpu",
        launch: Launch = LAUNCH,
    ) -> None:
        """Start the child process on `device`, without waiting until it is ready."""
        self.variant = variant
        self._channel, lane_channel = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the lane
        with lane_channel:
            self._process: Process = self._start_process(
                lane_channel, policy, compile_cache, device, launch
            )
        self._ready = False
        self._kills_before = out_of_memory_kills()
        self.alive = True

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until the lane has imported its modules. Raises LaneFault if it does not start."""
        if not self._ready:
            self._receive(Ready, "start", START_LIMIT_S)
            self._ready = True

    def ask(self, step: Step, answer_type: type[_A], limit_s: float) -> _A:
        """Have the lane do a step, and return its answer.

        Raises LaneFault when the variant refuses, when the lane dies, or when the step takes longer
        than `limit_s`. The lane is ended after any status except unsupported and skipped, so that
        the next case gets a clean process.
        """
        self.tell(step)
        return self.hear(step, answer_type, limit_s)

    def tell(self, step: Step) -> None:
        """Send the lane a step; `hear` then returns the answer. Raises LaneFault."""
        self.wait_until_ready()
        try:
            send(self._channel, step)
        except OSError:
            raise self._death(type(step).__name__) from None

    def hear(self, step: Step, answer_type: type[_A], limit_s: float) -> _A:
        """Return the answer to a step that was sent. Raises LaneFault as `ask` does."""
        return self._receive(answer_type, type(step).__name__, limit_s)

    def end(self) -> None:
        """Kill the lane and all processes that it started."""
        if not self.alive:
            return
        self.alive = False
        self._kill_process()
        self._channel.close()
        self._output.close()

    def _start_process(
        self,
        lane_channel: socket.socket,
        policy: Policy,
        compile_cache: Path,
        device: str,
        launch: Launch,
    ) -> Process:
        variant = self.variant
        words = [
            *(lane_channel.fileno(), os.getpid(), variant.module),
            *(json.dumps(dict(variant.options)), variant.answers, device, policy.threads),
        ]
        return subprocess.Popen(
            [*launch.command, *map(str, words)],
            cwd=launch.folder,
            env=_environment(policy, compile_cache),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[lane_channel.fileno()],
            start_new_session=True,
        )

    def _kill_process(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _next_message(self, limit_s: float) -> bytes:
        return receive(self._channel, limit_s)

    def _receive(self, answer_type: type[_A], step: str, limit_s: float) -> _A:
        try:
            answer = _answer_decoder.decode(self._next_message(limit_s))
            if not isinstance(answer, answer_type | Refusal):
                raise msgspec.DecodeError(f"a {type(answer).__name__}")
        except msgspec.DecodeError as error:
            self.end()
            raise LaneFault("crashed", step, f"no answer to {step}: {error}") from None
        except TimeoutError:
            self.end()
            reason = f"{step} took over {limit_s:g} s; raise --step-timeout if it may take longer"
            raise LaneFault("timed_out", step, reason) from None
        except (EOFError, OSError):
            raise self._death(step) from None
        if isinstance(answer, Refusal):
            if answer.status not in {"unsupported", "skipped"}:
                self.end()
            raise LaneFault(answer.status, step, answer.reason)
        return answer

    def _death(self, step: str) -> LaneFault:
        status: Status = "crashed"
        try:
            code = self._process.wait(HANG_UP_LIMIT_S)
        except subprocess.TimeoutExpired:
            reason = "hung up without ending"
        else:
            reason = ending(code)
            if code == -signal.SIGKILL and out_of_memory_kills() > self._kills_before:
                status, reason = "out_of_memory", "killed by the kernel because memory ran out"
        words = last_words(self._output)
        self.end()
        return LaneFault(status, step, f"{reason} during {step}{words}")


def ending(code: int) -> str:
    """Return how a process ended, in words, from its exit code."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"


def last_words(output: IO[bytes]) -> str:
    """Return the last line of a process's output as a clause, or an empty text."""
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - 2000))
    lines = output.read().decode(errors="replace").strip().splitlines()
    return f"; it last said: {lines[-1][:300]}" if lines else ""


def out_of_memory_kills(counters: Path = Path("/proc/vmstat")) -> int:
    """Return how often the kernel has killed a process for memory; 0 if it has no such count."""
    try:
        text = counters.read_text()
    except OSError:  # gVisor has no such file
        return 0
    match = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else 0


def environment() -> dict[str, str]:
    """Return the environment that a lane inherits: this process's without PYTHONSAFEPATH.

    It also names the current folder, because a lane starts in another.

    With PYTHONSAFEPATH a lane would import the installed tree and not the folder that it is started
    in, so a comparison's base would run the head's code.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return inherited | {FOLDER: str(Path.cwd())}


def _environment(policy: Policy, compile_cache: Path) -> dict[str, str]:
    return (
        environment()
        | policy.malloc
        | {
            "OMP_NUM_THREADS": str(policy.threads),
            "TORCHINDUCTOR_CACHE_DIR": str(compile_cache),
            "TRITON_CACHE_DIR": str(compile_cache / "triton"),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }
    )
