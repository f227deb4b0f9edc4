"""A plan on every GPU of this machine: all at once, and what the host limits one GPU at a time.

GPUs share the host's cores and memory. The device's time of a call does not depend on them, the
host's time to issue it does. So the GPUs first race side by side and leave out the cells whose cost
is the host's time (suite.race.host_bound); then each GPU has the machine to itself for those.
"""

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import msgspec

from suite.conditions.device import Device
from suite.failures import BadRequest
from suite.fleet.child_run import ChildRun, RunEnding, Say
from suite.fleet.device_files import device_path
from suite.records.fingerprint import run_header
from suite.records.store import Store, read

SHARE_SIDE_BY_SIDE = 0.5
"""The share of a budget in which the GPUs race side by side."""


class GpuRun(NamedTuple):
    """A GPU and its results file."""

    gpu: Device
    path: Path


def gpu_runs(gpus: Sequence[Device], path: Path) -> list[GpuRun]:
    """Return a run for each GPU; results/x.jsonl becomes results/x-cuda0.jsonl and so on."""
    return [GpuRun(gpu, device_path(path, gpu.name)) for gpu in gpus]


def begun_runs(gpus: Sequence[Device], path: Path) -> list[GpuRun]:
    """Return the runs that `gpu_runs` returned for a path, of which files were begun.

    A GPU whose file was not begun yet gets one with the plan of the others. Raises BadRequest where
    no file was begun, or where one is of a GPU that is not here.
    """
    runs = gpu_runs(gpus, path)
    paths = [each.path for each in runs]
    of_gpu = re.compile(rf"{re.escape(path.stem)}-cuda\d+{re.escape(path.suffix)}")
    for file in sorted(path.parent.glob("*")):
        if of_gpu.fullmatch(file.name) and file not in paths:
            raise BadRequest(
                f"--resume {path}: {file.name} is of a GPU that is not here; "
                f"the GPUs here are {', '.join(gpu.name for gpu in gpus)}"
            )
    begun = next((each for each in runs if each.path.exists()), None)
    if begun is None:
        raise BadRequest(
            f"--resume {path}: there is no {paths[0].name} beside it; "
            "give the --out of the run on all GPUs"
        )
    for each in runs:
        if not each.path.exists():
            _begin_like(begun, each)
    return runs


def race_on_all(
    runs: Sequence[GpuRun], words: Sequence[str], budget_s: float | None, say: Say
) -> dict[str, str]:
    """Measure what `words` ask of `run` on every GPU; return why runs failed, by device.

    A file that was begun is completed. `budget_s` (seconds) is for the whole. If this is
    interrupted, all runs are, and their files have what was measured so far.
    """
    began = time.monotonic()
    options: list[object] = []
    if budget_s is not None:
        options += ["--budget", f"{budget_s * SHARE_SIDE_BY_SIDE:.0f}s"]
    if len(runs) > 1:
        options.append("--defer-host-bound")
    commands = {
        run.gpu.name: [*_beginning(run, words), *options] for run in runs if _lacks_cells(run.path)
    }
    failures = _failures(_side_by_side(commands, say))
    waiting = [run for run in runs if run.gpu.name not in failures and _lacks_cells(run.path)]
    for number, run in enumerate(waiting):
        rest: list[object] = ["--resume", run.path]
        if budget_s is not None:
            left_s = budget_s - (time.monotonic() - began)
            if left_s < 1:
                break
            rest += ["--budget", f"{left_s / (len(waiting) - number):.0f}s"]
        say(run.gpu.name, "alone now, for the cells whose cost is the host's time")
        failures |= _failures(_side_by_side({run.gpu.name: rest}, say))
    return failures


def _begin_like(first: GpuRun, new: GpuRun) -> None:
    """Begin a GPU's file with the plan and the software of another's."""
    like = read(first.path).header
    plan = msgspec.structs.replace(like.plan, device=new.gpu.name)
    header = run_header(plan, like.argv, new.gpu)
    with closing(Store(new.path)) as store:
        store.append([msgspec.structs.replace(header, software=like.software)])


def _beginning(run: GpuRun, words: Sequence[str]) -> list[object]:
    """Return the words with which a run begins, or goes on."""
    if run.path.exists():
        return ["--resume", run.path]
    return ["--device", run.gpu.name, "--out", run.path, *words]


def _side_by_side(commands: dict[str, list[object]], say: Say) -> dict[str, RunEnding]:
    """Run commands of `run` at once, by device; return how each ended."""
    with ExitStack() as stack:
        children = {name: stack.enter_context(ChildRun(words)) for name, words in commands.items()}

        def follow(name: str) -> None:
            for line in children[name].lines():
                say(name, line)

        threads = [Thread(target=follow, args=(name,), daemon=True) for name in children]
        for thread in threads:
            thread.start()
        try:
            _join(threads)
        except KeyboardInterrupt:
            for child in children.values():
                child.interrupt()
            _join(threads)
            raise
        return {name: child.wait() for name, child in children.items()}


def _join(threads: Sequence[Thread]) -> None:
    for thread in threads:
        thread.join()


def _failures(endings: dict[str, RunEnding]) -> dict[str, str]:
    return {name: ending.error for name, ending in endings.items() if ending.error is not None}


def _lacks_cells(path: Path) -> bool:
    """Whether a results file lacks cells of its plan, or is yet to be begun."""
    return not path.exists() or read(path).missing() > 0
