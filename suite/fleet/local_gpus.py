"""A plan on every GPU of this machine: all at once, and what the host limits one GPU at a time.

GPUs share the host's cores and memory. The device's time of a call does not depend on them, the
host's time to issue it does. So the GPUs first race side by side and leave out the cells whose cost
is the host's time (suite.race.host_bound); then each GPU has the machine to itself for those.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from suite.conditions.device import Device
from suite.fleet.child_run import ChildRun, RunEnding, Say
from suite.records.store import read

SHARE_SIDE_BY_SIDE = 0.5
"""The share of a budget in which the GPUs race side by side."""


class GpuRun(NamedTuple):
    """A GPU and its results file."""

    gpu: Device
    path: Path


def gpu_runs(gpus: Sequence[Device], path: Path) -> list[GpuRun]:
    """Return a run for each GPU; results/x.jsonl becomes results/x-cuda0.jsonl and so on."""
    return [
        GpuRun(gpu, path.with_name(f"{path.stem}-{gpu.name.replace(':', '')}{path.suffix}"))
        for gpu in gpus
    ]


def race_on_all(
    runs: Sequence[GpuRun], words: Sequence[str], budget_s: float | None, say: Say
) -> dict[str, str]:
    """Measure what `words` ask of `run` on every GPU; return why runs failed, by device.

    `budget_s` (seconds) is for the whole. If this is interrupted, all runs are, and their files
    have what was measured so far.
    """
    began = time.monotonic()
    first = [] if budget_s is None else ["--budget", f"{budget_s * SHARE_SIDE_BY_SIDE:.0f}s"]
    options = [*words, *first]
    if len(runs) > 1:
        options.append("--defer-host-bound")
    failures = _failures(
        _side_by_side(
            {run.gpu.name: ["--device", run.gpu.name, "--out", run.path, *options] for run in runs},
            say,
        )
    )
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
    """Whether a results file lacks cells of its plan."""
    results = read(path)
    plan = results.header.plan
    return len(results.finished()) < len(plan.cases) * len(plan.variants) * plan.passes
