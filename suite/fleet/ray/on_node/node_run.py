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
from suite.fleet.device_files import device_path
from suite.fleet.ray.on_node.node_python import NoPython, interpreter

COUNT = "shipped-files"
"""A file of the shipment that has the number of its other files."""

UNPACKED_S = 20.0


class NodeDevice(NamedTuple):
    """A device of a node: its name, such as cuda:1, and its hardware key."""

    name: str
    hardware_key: str


class JobStart(NamedTuple):
    """The node has begun with a job, and these are its devices."""

    devices: tuple[NodeDevice, ...]


class OtherHardware(NamedTuple):
    """The node did nothing, because these are its devices and the task is bound to others."""

    devices: tuple[NodeDevice, ...]


class ProgressLine(NamedTuple):
    """A line of a run's progress."""

    text: str


class Content(NamedTuple):
    """What was added to the results file of a device: whole lines."""

    device: str
    lines: bytes


class JobEnd(NamedTuple):
    """The job is over, and `error` says why it failed, if it did."""

    error: str | None


Event = JobStart | OtherHardware | ProgressLine | Content | JobEnd


class PartialFile(NamedTuple):
    """A results file that was begun, whole lines, and the device that it is bound to."""

    device: NodeDevice
    content: bytes


class Task(NamedTuple):
    """What a node is sent: words for `run`, the kind of device, and the files so far, if any.

    With the kind cuda all GPUs of the node are measured. Without words the node only tells its
    devices. A `hardware_key` binds the task to nodes whose first device is of this key. `budget` is
    an option of `run`, or nothing. `program` and `devices_program` are what follows the
    interpreter. `wheels` is a folder of wheels for a node without this project's packages.
    """

    words: Sequence[str] | None
    kind: str
    hardware_key: str | None
    files: Sequence[PartialFile]
    budget: Sequence[str]
    program: Sequence[str]
    devices_program: Sequence[str]
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
            devices = _devices(python, task, environment, code)
        except (NoPython, subprocess.CalledProcessError) as error:
            yield JobEnd(_words(error))
            return
        if not _fits(task, devices):
            yield OtherHardware(devices)
            return
        yield JobStart(devices)
        if task.words is None:
            yield JobEnd(None)
        else:
            yield from _run(task, folder / "results.jsonl", python, environment, code, devices)


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


def _fits(task: Task, devices: Sequence[NodeDevice]) -> bool:
    """Whether this node has the hardware key and the devices that a task is bound to."""
    is_of_key = task.hardware_key in {None, devices[0].hardware_key}
    return is_of_key and all(file.device in devices for file in task.files)


def _run(
    task: Task,
    path: Path,
    python: str,
    environment: Mapping[str, str],
    code: Path,
    devices: Sequence[NodeDevice],
) -> Iterator[Event]:
    """Run `run` for all devices; `path` is its --out, beside which each device has its file."""
    sent = dict.fromkeys((device.name for device in devices), 0)
    for file in task.files:
        device_path(path, file.device.name).write_bytes(file.content)
        sent[file.device.name] = len(file.content)
    with ChildRun(_run_words(task, path), task.program, environment, python, code) as child:
        for line in child.lines():
            yield from _new_content(path, sent)
            yield ProgressLine(line)
        ending = child.wait()
    yield from _new_content(path, sent)
    yield JobEnd(ending.error)


def _run_words(task: Task, path: Path) -> list[str]:
    """Return the words of `run`; with files it resumes them."""
    words = ["--resume", str(path)] if task.files else [*(task.words or ()), "--out", str(path)]
    if task.kind == "cuda":
        words += ["--device", "all"]
    elif not task.files:
        words += ["--device", task.kind]
    return [*words, *task.budget]


def without_ray(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what Ray put there; it also sets OMP_NUM_THREADS."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("RAY_") and name != "OMP_NUM_THREADS"
    }


def _devices(
    python: str, task: Task, environment: Mapping[str, str], code: Path
) -> tuple[NodeDevice, ...]:
    command = [python, *task.devices_program, task.kind]
    printed = subprocess.run(
        command, check=True, capture_output=True, text=True, env=dict(environment), cwd=code
    ).stdout
    return tuple(NodeDevice(*line.split(" ", 1)) for line in printed.splitlines())


def _words(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.strip().splitlines()
        return str(lines[-1]).removeprefix("Error: ") if lines else str(error)
    return str(error)


def _new_content(path: Path, sent: dict[str, int]) -> Iterator[Content]:
    """Yield what was added to each device's file since; `sent` counts the bytes sent of each."""
    for device, start in sent.items():
        if lines := _whole_lines(device_path(path, device), start):
            sent[device] = start + len(lines)
            yield Content(device, lines)


def _whole_lines(path: Path, start: int) -> bytes:
    """Return the whole lines of a file that stand behind its first `start` bytes."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(start)
        added = file.read()
    return added[: added.rfind(b"\n") + 1]
