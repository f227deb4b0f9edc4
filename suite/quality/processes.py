"""Trains and tests models in processes of one thread each, some side by side."""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

import msgspec

from suite.conditions.policy import ROOT
from suite.conditions.temporary import EndsWithBlock
from suite.lanes.handle import ending, environment, last_words
from suite.quality.message import ModelTask, TaskMessage
from suite.quality.record import ModelFault

COMMAND = (sys.executable, "-m", "suite.quality.model.task")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
"""A step frees some large tensors. glibc would return their memory, and fetch and clear it anew."""

_decoder: msgspec.json.Decoder[TaskMessage] = msgspec.json.Decoder(TaskMessage)


class ModelNews(NamedTuple):
    """What a model's process said, or how it ended: a fault, or None where it did its task."""

    task: ModelTask
    message: TaskMessage | ModelFault | None


class ModelProcess(EndsWithBlock):
    """The process of one task."""

    def __init__(self, task: ModelTask) -> None:
        """Start the process, without waiting for it."""
        self.task = task
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._unfinished = b""
        self._process = subprocess.Popen(
            [*COMMAND, msgspec.json.encode(task).decode()],
            cwd=ROOT,
            env=environment() | ONE_THREAD | KEEPS_MEMORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._words,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.output = self._process.stdout

    def read(self) -> list[TaskMessage | ModelFault | None]:
        """Return what there is to read; the last of all is a fault, or None after success."""
        chunk = os.read(self.output.fileno(), 1 << 16)
        if chunk:
            *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
            return [_decoder.decode(line) for line in lines]
        code = self._process.wait()
        if not code:
            return [None]
        reason = ending(code) + last_words(self._words)
        return [ModelFault(self.task.method, self.task.seed, reason[:400])]

    def end(self) -> None:
        """Kill the process and all that it started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.output.close()
        self._words.close()


def do_all(tasks: Sequence[ModelTask], at_a_time: int) -> Iterator[ModelNews]:
    """Do the tasks in order, `at_a_time` side by side, and yield what each says.

    Ends all processes where the caller stops listening.
    """
    waiting = list(tasks)
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < at_a_time:
                process = stack.enter_context(ModelProcess(waiting.pop(0)))
                selector.register(process.output, selectors.EVENT_READ, process)
            for key, _ in selector.select():
                process = key.data
                for message in process.read():
                    if message is None or isinstance(message, ModelFault):
                        selector.unregister(process.output)
                        process.end()
                    yield ModelNews(process.task, message)
