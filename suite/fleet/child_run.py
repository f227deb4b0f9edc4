"""A `run` in a process of its own, whose progress its parent reads line by line."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from suite.conditions.temporary import EndsWithBlock
from variants.host.installation import FOLDER, IS_INSTALLED

PROGRAM: Sequence[str] = ("-m", "alibi_bench") if IS_INSTALLED else (str(FOLDER / "run_bench.py"),)
Say = Callable[[str, str], None]
"""Shows a line of a run's progress: (the name of the device or node, the line)."""

_LEASH = Path(__file__).with_name("leash.py")


class RunEnding(NamedTuple):
    """How a run ended: its exit code, and the last line that it wrote to stderr."""

    code: int
    last_line: str

    @property
    def error(self) -> str | None:
        """Why the run failed, or None if it did not; lost agreement (1) is no failure."""
        if self.code in {0, 1}:
            return None
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        return self.last_line.removeprefix("Error: ") or f"exited with {self.code}"


class ChildRun(EndsWithBlock):
    """A run that ends when its parent does, and cleanly if the parent ends it.

    It has to be started by the thread that lives longest, because the kernel takes the end of the
    starting thread for the parent's.
    """

    def __init__(
        self,
        words: Iterable[object],
        program: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
        python: str = sys.executable,
        folder: Path | None = None,
    ) -> None:
        """Start `run` with these words in a folder; without `program` it is this program's own."""
        self._last_line = ""
        command = [python, *(program or PROGRAM), "run", *map(str, words)]
        self._process = subprocess.Popen(
            [sys.executable, _LEASH, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )

    def lines(self) -> Iterator[str]:
        """Yield what the run writes to stderr, until it ends."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._last_line = line.rstrip()
            yield self._last_line

    def interrupt(self) -> None:
        """Ask the run to stop; it records no more cells, and its file stays whole."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def wait(self) -> RunEnding:
        """Return how the run ended, once `lines` is through."""
        return RunEnding(self._process.wait(), self._last_line)

    def end(self) -> None:
        """Interrupt the run if it is not over, and wait until it is."""
        self.interrupt()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process.wait()
