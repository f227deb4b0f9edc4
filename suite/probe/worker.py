"""A worker of the probe, as its parent has it: a process that tries one cell after another."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from suite.conditions.device import Device
from suite.conditions.policy import ROOT, Policy
from suite.conditions.temporary import EndsWithBlock
from suite.lanes.handle import ending, environment, last_words
from suite.records.record import Status

COMMAND = (sys.executable, "-m", "suite.probe.trial")
ENDING: frozenset[Status] = frozenset({"failed", "crashed", "out_of_memory"})
"""After these a worker is used no further: the next cell gets a clean process."""


class Outcome(NamedTuple):
    """What became of a cell, and why; of the start itself if it is the first."""

    status: Status
    reason: str

    @property
    def ends_worker(self) -> bool:
        """Whether the next cell needs another worker."""
        return self.status in ENDING


class Worker(EndsWithBlock):
    """A process whose output is a line for its start, then a line for each cell."""

    def __init__(self, cells: Sequence[tuple[str, str]], policy: Policy, device: Device) -> None:
        """Start the process, without waiting for it."""
        self._lines: list[bytes] = []
        self._unfinished = b""
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._cache = tempfile.TemporaryDirectory(prefix="alibi-bench-probe-")
        threads = str(policy.threads)
        self._process = subprocess.Popen(
            [*COMMAND, device.name, threads, json.dumps(cells), device.half],
            cwd=ROOT,
            env=environment()
            | policy.malloc
            | {"OMP_NUM_THREADS": threads, "TORCHINDUCTOR_CACHE_DIR": self._cache.name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._words,
            start_new_session=True,
        )

    def end(self) -> None:
        """Kill the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._words.close()
        self._cache.cleanup()

    def outcome(self, limit_s: float) -> Outcome:
        """Return the next outcome; "crashed" if the process ends without it.

        Raises TimeoutError after `limit_s`.
        """
        assert self._process.stdout is not None
        ends_at = time.monotonic() + limit_s
        while not self._lines:
            left_s = max(0.0, ends_at - time.monotonic())
            if not select.select([self._process.stdout], [], [], left_s)[0]:
                raise TimeoutError
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            if not chunk:
                return Outcome("crashed", ending(self._process.wait()) + last_words(self._words))
            *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
            self._lines += lines
        return msgspec.json.decode(self._lines.pop(0), type=Outcome)
