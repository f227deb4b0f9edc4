"""`run --device all`: the plan on every GPU of this machine, and its siblings side by side."""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reports.commands.console import read_once, show
from reports.commands.many.option_words import option_words
from reports.commands.run import finish
from suite.failures import RunFailed

if TYPE_CHECKING:
    from suite.conditions.device import Device
    from suite.fleet.local_gpus import GpuRun


def run_on_all(
    context: click.Context,
    path: Path,
    budget_s: float | None,
    grid: dict[str, Any] | None,
    *,
    strict: bool,
    page: Path | None,
) -> None:
    """Measure a plan on every GPU, a results file each; show the tables and how siblings differ.

    Files are named by the GPU behind `path`; without a `grid` they are there, and are completed. A
    page goes into the folder `page`. Raises BadRequest before anything is measured, and RunFailed
    where a GPU's run failed, after the tables of the others.
    """
    from suite.conditions.device import all_gpus
    from suite.fleet.local_gpus import begun_runs, race_on_all

    gpus = all_gpus()
    runs = begun_runs(gpus, path) if grid is None else _new_runs(gpus, path, grid)
    words = option_words(context, {"device", "out", "budget", "strict", "page", "resume"})
    before = read_once(each.path for each in runs if each.path.exists())
    old_warnings = {line for file in before for line in file.warnings}

    def say_new(who: str, line: str) -> None:
        if line.removeprefix("Warning: ") not in old_warnings:
            say(who, line)

    if len(runs) > 1:
        _say_what_is_shared(runs)
    try:
        failures = race_on_all(runs, words, budget_s, say_new)
    except KeyboardInterrupt:
        again = f"run --device all --resume {path}"
        raise RunFailed(f"interrupted; {again} measures the rest") from None
    reasons = ", ".join(f"{name} ({why})" for name, why in failures.items())
    paths = [each.path for each in runs if each.path.exists()]
    if not paths:
        raise RunFailed(f"no GPU measured anything: {reasons}")
    _conclude(paths, old_warnings, strict=strict, page=page)
    if failures:
        raise RunFailed(f"{len(failures)} of {len(runs)} GPUs failed: {reasons}")


def say(who: str, line: str) -> None:
    """Print a line of a run's progress to stderr, behind the name of its device."""
    click.echo(f"{who}  {line}", err=True)


def _new_runs(gpus: Sequence["Device"], path: Path, grid: dict[str, Any]) -> list["GpuRun"]:
    """Return a run for each GPU. Raises BadRequest for what can't be planned, or is there."""
    from suite.cases.request import Request
    from suite.fleet.local_gpus import gpu_runs

    runs = gpu_runs(gpus, path)
    for each in runs:
        Request(**grid).plan(each.gpu.name, each.gpu.half)
        if each.path.exists():
            again = f"--device all --resume {path}"
            raise click.UsageError(f"--out: {each.path} exists; {again} completes it")
    return runs


def _say_what_is_shared(runs: Sequence["GpuRun"]) -> None:
    import psutil

    cores = runs[0].gpu.hardware.cores
    gib = psutil.virtual_memory().total / 2**30
    click.echo(
        f"{len(runs)} GPUs share {cores} cores and {gib:.0f} GiB of host memory: they race at "
        "once, then one at a time where a call costs the host's time",
        err=True,
    )


def _conclude(
    paths: Sequence[Path], old_warnings: Container[str], *, strict: bool, page: Path | None
) -> None:
    """Show tables, siblings and paths, and write a page; with `strict` exit as `run` does.

    The `old_warnings` of files are not printed again.
    """
    from reports.overview.terminal import overview
    from reports.pages.siblings import siblings_text
    from reports.tables.cells import groups
    from reports.text.screen import screen

    files = read_once(paths, old_warnings)
    measured = groups(files)
    show(overview(measured, "time", screen()))
    for text in (
        siblings_text(files, screen().width),
        "\n".join(f"Results: {path}" for path in paths),
    ):
        if text:
            show(f"\n{text}")
    finish(files, measured, strict=strict, page=page)
