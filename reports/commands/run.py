"""`run`: check, race and tabulate. Other commands measure their plans with its functions."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from reports.commands.console import (
    default_path,
    refuse_existing,
    refuse_options,
    show,
    warn,
    warn_of_troubles,
)
from reports.commands.options import grid_options
from suite.conditions.device import Device
from suite.failures import RunFailed
from suite.lanes.interpreter import Interpreter
from suite.records.record import RunHeader
from suite.run import FinishedCells

if TYPE_CHECKING:
    from reports.tables.cells import Group
    from suite.cases.plan import Plan
    from suite.records.store import Results, Store


class Stopped(RunFailed):
    """The run was interrupted; the text says how to continue."""


@click.command()
@grid_options
@click.option(
    "--python",
    multiple=True,
    help="NAME=PROGRAM: the interpreter of a variant's lanes; may be given again.",
)
@click.option("--passes", type=int, help="Passes in fresh processes; intervals need 3.")
@click.option(
    "--budget", help="Time for the whole run, such as 8m; the most informative cases come first."
)
@click.option("--page", is_flag=True, help="Write a page of charts too, beside the results file.")
@click.option("--part", help="Measure a part of the cases, as 2/3: the second of three.")
@click.option(
    "--defer-host-bound",
    is_flag=True,
    help="Leave cells whose cost is the host's time to --resume: other GPUs race here now.",
)
@click.option("--strict", is_flag=True, help="Exit 1 for a disagreement, 3 for any other gap.")
@click.option("--out", type=click.Path(path_type=Path), help="Results file to write.")
@click.option("--resume", type=click.Path(path_type=Path), help="Results file to complete.")
@click.pass_context
def run(
    context: click.Context,
    /,
    device: str | None,
    budget: str | None,
    page: bool,
    part: str | None,
    defer_host_bound: bool,
    strict: bool,
    out: Path | None,
    resume: Path | None,
    **grid: Any,
) -> None:
    """Check, race and tabulate variants.

    A sweep is a grid of cases; options take the place of its parts. Every result is written as it
    comes, and --resume FILE completes a run that was cut short, measuring
    nothing twice but the baseline. --device all races on every GPU of this machine.

    \b
    Example:
      python run_bench.py run --sweep training --variants sdpa_key,compile
      python run_bench.py run --device all --passes 3
      python run_bench.py run --resume results/FILE.jsonl
    """
    from suite.cases import parse
    from suite.conditions.device import device_for

    budget_s = None if budget is None else parse.seconds("--budget", budget)
    places = parse.part("--part", part)
    if resume is not None:
        stay = {"resume", "page", "strict", "budget", "defer_host_bound"}
        stay |= {"device"} if device == "all" else set()
        options = [name for name in context.params if name not in stay]
        refuse_options(context, options, "beside --resume: the file has its plan")
    if device == "all":
        from reports.commands.many.all_gpus import run_on_all

        path = resume or out or default_path("all")
        folder = _page_folder(path) if page else None
        wanted = grid if resume is None else None
        run_on_all(context, path, budget_s, wanted, strict=strict, page=folder)
        return
    if resume is not None:
        path = resume
        folder = _page_folder(path) if page else None
        _complete(path, budget_s, defer_host_bound=defer_host_bound)
    else:
        used = device_for(device)
        plan = _plan(used, grid, places)
        path = _new_file(out or default_path(used.hardware.key))
        folder = _page_folder(path) if page else None
        _measure_plan(path, plan, used, budget_s, defer_host_bound=defer_host_bound)
    conclude(path, strict=strict, page=folder)


def _plan(device: Device, grid: dict[str, Any], places: tuple[int, int] | None) -> "Plan":
    """Return the plan of the grid options, or the part of it that --part names.

    Raises BadRequest for options that make no plan.
    """
    from suite.cases.plan import part_of
    from suite.cases.request import Request

    plan = Request(**grid).plan(device.name, device.half)
    return plan if places is None else part_of(plan, *places)


def _new_file(path: Path) -> Path:
    """Return `path`. Raises UsageError where something is there already."""
    if path.is_dir():
        raise click.UsageError(f"--out {path}: a folder; name a file in it")
    refuse_existing(path, f"--resume {path} completes it")
    return path


def _page_folder(path: Path) -> Path:
    """Return the folder of a results file's page: beside the file, by its name.

    Raises BadRequest if a page can't be written there, before anything is measured.
    """
    from reports.web_page.write_page import check_extra, check_folder

    folder = path.with_name(f"{path.stem}-page")
    check_extra()
    check_folder(folder, "--page")
    return folder


def _complete(path: Path, budget_s: float | None, *, defer_host_bound: bool) -> None:
    """Measure the cells of a results file's plan that the file lacks.

    `defer_host_bound` is that of `measure`.
    """
    from suite.conditions.device import device_for
    from suite.records.store import is_duel_record, read

    before = read(path)
    warn(before.warnings)
    if any(is_duel_record(record) for record in before.records):
        raise click.UsageError(f"--resume {path}: a file of pairs and no run's")
    plan = before.header.plan
    used = device_for(plan.device)
    _measure_plan(path, plan, used, budget_s, before, defer_host_bound=defer_host_bound)


def _measure_plan(
    path: Path,
    plan: "Plan",
    device: Device,
    budget_s: float | None,
    before: "Results | None" = None,
    *,
    defer_host_bound: bool,
) -> None:
    """Measure a plan with its interpreters into the file `path`, without what `before` has.

    Raises BadRequest where this is not the hardware, software and policy of `before`.
    """
    from suite.lanes.interpreter import interpreters_of, software_of
    from suite.records.fingerprint import check_resumable, run_header

    with interpreters_of(plan.pythons) as others:
        header = run_header(plan, sys.argv[1:], device, software_of(others))
        if before is not None:
            check_resumable(before.header, header)
        finished = frozenset() if before is None else before.finished_cells()
        measure(path, header, device, budget_s, finished, others, defer_host_bound=defer_host_bound)


def measure(
    path: Path,
    header: RunHeader,
    device: Device,
    budget_s: float | None,
    finished: FinishedCells = frozenset(),
    others: Mapping[str, Interpreter] = MappingProxyType({}),
    *,
    defer_host_bound: bool = False,
) -> None:
    """Measure a header's plan, without the finished cells, into the file `path`.

    `others` are the interpreters of variants that have their own. Troubles of the machine are told
    before. `defer_host_bound` leaves cells whose cost is the host's time for a resumed run. Raises
    Stopped if the user interrupts; the file then has the results so far. Raises
    NothingMeasured, and removes a new file, if the budget held no cell.
    """
    from suite.budget import NothingMeasured
    from suite.records.store import Store

    is_new = not path.exists()
    results = Store(path)
    try:
        results.append([header])
        warn_of_troubles(device)
        _race(
            *(header, device, results, budget_s, finished, others),
            defer_host_bound=defer_host_bound,
        )
    except KeyboardInterrupt:
        raise Stopped(f"interrupted; run --resume {path} measures the rest") from None
    except NothingMeasured:
        if is_new:
            path.unlink()
        raise
    finally:
        results.close()


def _race(
    header: RunHeader,
    device: Device,
    results: "Store",
    budget_s: float | None,
    finished: FinishedCells,
    others: Mapping[str, Interpreter],
    *,
    defer_host_bound: bool,
) -> None:
    """Race what `measure` is to measure, and append the records to `results`."""
    from reports.commands.progress import progress
    from suite.conditions.nvml import open_gpu
    from suite.kernels.user_kernels import variants_beside
    from suite.run import Run

    with open_gpu(device.uuid) as gpu, progress() as watch:
        run = Run(
            header.plan,
            variants_beside(header.plan.kernels),
            header.policy,
            results,
            watch,
            gpu,
            budget_s,
            launches={name: other.launch for name, other in others.items()},
            defer_host_bound=defer_host_bound,
        )
        run.measure(finished)


def conclude(path: Path, *, strict: bool, page: Path | None = None) -> None:
    """Show the table and the file's path, and write a page into the folder `page`.

    With `strict`, exit 1 if a variant disagrees, else 3 if a cell was not measured.
    """
    from reports.overview.terminal import overview
    from reports.tables.cells import groups
    from reports.text.screen import screen
    from suite.records.store import read

    results = read(path)
    measured = groups([results])
    show(f"{overview(measured, 'time', screen())}\n\nResults: {path}")
    finish([results], measured, strict=strict, page=page)


def finish(
    files: Sequence["Results"], measured: Sequence["Group"], *, strict: bool, page: Path | None
) -> None:
    """Write a page of files into the folder `page`, and with `strict` exit as `conclude` does.

    `measured` are the rows of the files.
    """
    if page is not None:
        from reports.web_page.write_page import write_page

        show(f"Page: {write_page(files, page)[0]}")
    statuses = {row.status for group in measured for row in group.rows} - {"measured"}
    if strict and statuses:
        raise SystemExit(1 if "disagrees" in statuses else 3)
