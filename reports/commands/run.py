"""`run`: check, race and tabulate; and what else measures a plan."""

import sys
from pathlib import Path
from typing import Any

import click

from reports.commands.console import default_path, refuse_given, show, warn
from reports.commands.options import grid_options
from suite.devices import Device
from suite.record import Machine
from suite.run import Cells


class Stopped(Exception):  # noqa: N818 - the user's wish
    """The run was interrupted; the text says how to go on."""


@click.command()
@grid_options
@click.option("--passes", type=int, help="Passes in fresh processes; intervals need 3.")
@click.option("--budget", help="Time for the whole run, such as 8m; the telling cases come first.")
@click.option("--strict", is_flag=True, help="Exit 1 for a disagreement, 3 for any other gap.")
@click.option("--out", type=click.Path(path_type=Path), help="Results file to write.")
@click.option("--resume", type=click.Path(path_type=Path), help="Results file to complete.")
@click.pass_context
def run(
    context: click.Context,
    /,
    device: str | None,
    budget: str | None,
    strict: bool,
    out: Path | None,
    resume: Path | None,
    **asked: Any,
) -> None:
    """Check, race and tabulate variants.

    A sweep is a grid of cases; options take the place of its parts. Every result is written as it
    comes, and --resume FILE completes a run that was cut short, measuring
    nothing twice but the baseline.

    \b
    Example:
      python run_bench.py run --sweep training --variants sdpa_key,compile
      python run_bench.py run --resume results/FILE.jsonl
    """
    from reports.versus import is_of_pairs
    from suite import asked as asked_for
    from suite import devices, plan, store
    from suite.fingerprint import fingerprint

    budget_s = None if budget is None else asked_for.seconds("--budget", budget)
    if resume is None:
        used, done = devices.chosen(device), Cells()
        machine = fingerprint(plan.plan(device=used.name, **asked), sys.argv[1:], used)
        path = out or default_path(machine.hardware.key)
        if path.is_dir():
            raise click.UsageError(f"--out {path}: a folder; name a file in it")
        if path.exists():
            raise click.UsageError(f"--out {path} exists; --resume {path} completes it")
    else:
        others = [name for name in context.params if name not in {"resume", "strict", "budget"}]
        refuse_given(context, others, "beside --resume: the file has its plan")
        path, before = resume, store.read(resume)
        warn(before.warnings)
        if any(is_of_pairs(record) for record in before.records):
            raise click.UsageError(f"--resume {resume}: a file of pairs and no run's")
        used, done = devices.chosen(before.machine.plan.device), before.finished()
        machine = fingerprint(before.machine.plan, sys.argv[1:], used)
        plan.check_resumable(before.machine, machine)
    measure(path, machine, used, done, budget_s)
    conclude(path, strict=strict)


def measure(
    path: Path, machine: Machine, device: Device, done: Cells, budget_s: float | None
) -> None:
    from reports.progress import progress
    from suite.nvml import opened
    from suite.run import Run
    from suite.store import Store
    from variants.catalog import CATALOG

    results = Store(path)
    try:
        results.append([machine])
        with opened(device.uuid) as gpu, progress() as watch:
            run = Run(machine.plan, CATALOG, machine.policy, results, watch, gpu, budget_s)
            run.measure(done)
    except KeyboardInterrupt:
        raise Stopped(f"interrupted; run --resume {path} measures the rest") from None
    finally:
        results.close()


def conclude(path: Path, *, strict: bool) -> None:
    """Show the table and the file's path; with `strict`, exit by what was not measured."""
    from reports.cells import groups
    from reports.table import render
    from suite.store import read

    measured = groups([read(path)])
    show(f"{render(measured, 'simple')}\n\nResults: {path}")
    statuses = {row.status for group in measured for row in group.rows} - {"measured"}
    if strict and statuses:
        raise SystemExit(1 if "disagrees" in statuses else 3)
