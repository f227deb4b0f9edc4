"""What a node does for a job: it runs `run` in a process without Ray, and sends back what it wrote.

It runs inside a Ray worker whose Python may lack this project's packages, so it needs none of them.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from suite.conditions.temporary import owned_folder, remove_tree
from suite.fleet.child_run import ChildRun
from suite.fleet.ray.node_python import NoPython, interpreter

COUNT = "shipped-files"
"""A file of the shipment that has the number of its other files."""

UNPACKED_S = 20.0


class Begun(NamedTuple):
    """The node has begun with a job, and this is its hardware key."""

    hardware_key: str


class OtherHardware(NamedTuple):
    """The node did nothing, because this is its hardware key and the task is bound to another."""

    hardware_key: str


class ProgressLine(NamedTuple):
    """A line of a run's progress."""

    text: str


class Content(NamedTuple):
    """What was added to the results file: whole lines."""

    lines: bytes


class Finished(NamedTuple):
    """The job is over, and `error` says why it failed, if it did."""

    error: str | None


Event = Begun | OtherHardware | ProgressLine | Content | Finished


class Task(NamedTuple):
    """What a node is sent: words for `run`, its device, and the results file so far, if any.

    Without words the node only tells its hardware key. A `hardware_key` binds the task to nodes of
    this key. `program` and `key_program` are what follows
    the interpreter. `wheels` is a folder of wheels for a node without this project's packages.
    """

    words: Sequence[str] | None
    device: str
    hardware_key: str | None
    so_far: bytes
    program: Sequence[str]
    key_program: Sequence[str]
    wheels: str | None


def do(task: Task) -> Iterator[Event]:
    """Do a task on this node; yield what happens. Closing the iterator interrupts the run.

    The run has a copy of the code, because nodes on one machine share Ray's folder of it, and Ray
    may make that anew while one of them measures.
    """
    environment = without_ray(os.environ)
    with owned_folder("alibi-bench-node-") as folder:
        code = _copy_of_code(folder / "code")
        try:
            python = interpreter(task.wheels)
            key = _hardware_key(python, task, environment, code)
        except (NoPython, subprocess.CalledProcessError) as error:
            yield Finished(_words(error))
            return
        if task.hardware_key not in {None, key}:
            yield OtherHardware(key)
            return
        yield Begun(key)
        if task.words is None:
            yield Finished(None)
        else:
            yield from _run(task, folder / "results.jsonl", python, environment, code)


def _copy_of_code(copy: Path) -> Path:
    """Copy the code, as soon as Ray has unpacked all of it. Raises FileNotFoundError after 20 s."""
    deadline = time.monotonic() + UNPACKED_S
    while True:
        with suppress(OSError, shutil.Error):  # it is being unpacked
            shutil.copytree(_working_folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
            if count_files(copy) >= int((copy / COUNT).read_text()):
                return copy
        if time.monotonic() > deadline:
            raise FileNotFoundError(f"{_working_folder()}: Ray has not unpacked all of the code")
        remove_tree(copy)
        time.sleep(0.2)


def count_files(folder: Path) -> int:
    """Return how many files are in a folder and below."""
    return sum(path.is_file() for path in folder.rglob("*"))


def _working_folder() -> Path:
    """Return the folder that Ray put the code into, by its name: it may have been made anew."""
    return Path(Path("/proc/self/cwd").readlink().as_posix().removesuffix(" (deleted)"))


def _run(
    task: Task, path: Path, python: str, environment: Mapping[str, str], code: Path
) -> Iterator[Event]:
    words: list[object] = [*(task.words or ()), "--device", task.device, "--out", path]
    if task.so_far:
        path.write_bytes(task.so_far)
        words = ["--resume", path]
    sent = len(task.so_far)
    with ChildRun(words, task.program, environment, python, code) as child:
        for line in child.lines():
            added = _whole_lines(path, sent)
            if added:
                sent += len(added)
                yield Content(added)
            yield ProgressLine(line)
        ending = child.wait()
    if added := _whole_lines(path, sent):
        yield Content(added)
    yield Finished(ending.error)


def without_ray(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what Ray put there; it also sets OMP_NUM_THREADS."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("RAY_") and name != "OMP_NUM_THREADS"
    }


def _hardware_key(python: str, task: Task, environment: Mapping[str, str], code: Path) -> str:
    command = [python, *task.key_program, task.device]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=dict(environment), cwd=code
    ).stdout.strip()


def _words(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.strip().splitlines()
        return str(lines[-1]).removeprefix("Error: ") if lines else str(error)
    return str(error)


def _whole_lines(path: Path, start: int) -> bytes:
    """Return the whole lines of a file that stand behind its first `start` bytes."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(start)
        added = file.read()
    return added[: added.rfind(b"\n") + 1]
