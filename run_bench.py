"""alibi-bench's command line: which ALiBi attention backend is fastest here, and is it right?"""

import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from suite.devices import Device
from suite.record import Machine
from suite.run import Cells

FORMATS = ("simple", "github", "csv", "json")
METRICS = ("time", "memory", "error", "start", "clock")
KINDS = ("variants", "sweeps")


@click.group(invoke_without_command=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """Measure ALiBi attention backends against each other on this machine.

    Without a command: run the default sweep, then show its table.

    \b
    Example:
      python run_bench.py
      python run_bench.py run --lengths 512,1024 --dtypes bfloat16
      python run_bench.py table results/published/*/*.jsonl --format github
    """
    if context.invoked_subcommand is None:
        context.invoke(run)


@cli.command()
@click.option("--device", help="cpu, cuda or cuda:1; without it a GPU where torch can use one.")
@click.option("--sweep", help="Name: `list sweeps`; without it the device's default.")
@click.option("--lengths", help="Sequence lengths in tokens, such as 512,1024.")
@click.option("--dtypes", help="Any of float32,bfloat16,float16.")
@click.option("--modes", help="Any of forward,backward (backward is both together).")
@click.option("--variants", help="Names: `list variants`. The baseline always joins them.")
@click.option("--batch", type=int, help="Batch size.")
@click.option("--heads", type=int, help="Heads.")
@click.option("--head-dim", type=int, help="Size of a head.")
@click.option("--logit-scale", type=float, help="Factor on the random q, k and v.")
@click.option("--passes", type=int, help="Passes in fresh processes; intervals need 3.")
@click.option("--budget", help="Time for the whole run, such as 8m; the telling cases come first.")
@click.option("--step-timeout", default="120s", show_default=True, help="Limit of one step.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of inputs and orders.")
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
    from suite import devices, plan, store
    from suite.fingerprint import fingerprint

    budget_s = None if budget is None else plan.seconds("--budget", budget)
    if resume is None:
        used, done = devices.chosen(device), Cells()
        machine = fingerprint(plan.plan(device=used.name, **asked), sys.argv[1:], used)
        path = out or _default_path(machine.hardware.key)
        if path.is_dir():
            raise click.UsageError(f"--out {path}: a folder; name a file in it")
        if path.exists():
            raise click.UsageError(f"--out {path} exists; --resume {path} completes it")
    else:
        _refuse_beside_resume(context)
        path, before = resume, store.read(resume)
        _warn(before.warnings)
        used, done = devices.chosen(before.machine.plan.device), before.finished()
        machine = fingerprint(before.machine.plan, sys.argv[1:], used)
        plan.check_resumable(before.machine, machine)
    _measure(path, machine, used, done, budget_s)
    _conclude(path, strict=strict)


@cli.command("list")
@click.argument("kind", type=click.Choice(KINDS))
def list_(kind: str) -> None:
    """Show what can be named: variants or sweeps.

    \b
    Example:
      python run_bench.py list variants
    """
    from reports import listing

    _show(listing.variants() if kind == "variants" else listing.sweeps())


@cli.command()
@click.option("--device", help="cpu, cuda or cuda:1; without it a GPU where torch can use one.")
def doctor(device: str | None) -> None:
    """Say what this machine has and what spoils measurements.

    Which variants run here, and why the others don't, comes with it: every one is tried once on
    a tiny case, which takes half a minute. Exits 0 when at least
    one ALiBi variant runs.

    \b
    Example:
      python run_bench.py doctor
    """
    from reports import doctor as report
    from suite import devices, health, machine, nvml, probe
    from variants.catalog import BASELINE, CATALOG

    used = devices.chosen(device)
    hardware = used.hardware
    with nvml.opened(used.uuid) as gpu:
        seen = gpu if isinstance(gpu, nvml.Absent) else gpu.circumstances()
    troubles = health.of_machine(hardware, os.environ)
    if not isinstance(seen, nvml.Absent):
        troubles += health.of_gpu(seen)
    _show(report.machine(hardware, machine.software(), machine.circumstances({}), seen))
    _show(f"\n{report.troubles(troubles)}\n")
    findings = probe.probe(CATALOG, machine.policy(used.kind, hardware.cores), used.name)
    _show(report.variants(findings))
    if not any(one.status == "measured" and one.variant != BASELINE.name for one in findings):
        raise SystemExit(3)


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "layout",
    type=click.Choice(FORMATS),
    default="simple",
    show_default=True,
    help="simple and github are for people, json and csv have every figure.",
)
@click.option(
    "--metric",
    type=click.Choice(METRICS),
    default="time",
    show_default=True,
    help="What the columns for people show.",
)
def table(files: Sequence[Path], layout: Any, metric: Any) -> None:
    """Show results files as a table, or every figure as csv or json.

    --metric memory, error, start or clock shows other columns: bytes, errors beside their budgets,
    what preparing and the first call cost and after how many calls that has paid for itself, or
    the clock's other series.

    \b
    Example:
      python run_bench.py table results/FILE.jsonl --metric memory --format github
    """
    from reports.cells import groups
    from reports.table import render
    from suite.store import read

    read_files = [read(file) for file in {file.resolve(): file for file in files}.values()]
    for file in read_files:
        _warn(file.warnings)
    _show(render(groups(read_files), layout, metric))


def _show(text: str) -> None:
    """Print to stdout; a reader who has seen enough (`| head`) is no error."""
    try:
        click.echo(text)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)


def _measure(
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


def _conclude(path: Path, *, strict: bool) -> None:
    """Show the table and the file's path; with `strict`, exit by what was not measured."""
    from reports.cells import groups
    from reports.table import render
    from suite.store import read

    measured = groups([read(path)])
    _show(f"{render(measured, 'simple')}\n\nResults: {path}")
    statuses = {row.status for group in measured for row in group.rows} - {"measured"}
    if strict and statuses:
        raise SystemExit(1 if "disagrees" in statuses else 3)


def _default_path(key: str) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return Path(__file__).parent.resolve() / "results" / f"{now}-{key}.jsonl"


def _refuse_beside_resume(context: click.Context) -> None:
    for name in context.params:
        if name not in {"resume", "strict", "budget"} and context.get_parameter_source(
            name
        ) not in {
            ParameterSource.DEFAULT,
            ParameterSource.DEFAULT_MAP,
        }:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} beside --resume: the file has its plan; drop {option}"
            )


class Stopped(Exception):  # noqa: N818 - the user's wish
    """The run was interrupted; the text says how to go on."""


def _end(code: int, error: Exception) -> NoReturn:
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    click.echo(f"Error: {' '.join(text.split())}", err=True)
    raise SystemExit(code)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line: 0 fine, 1 lost agreement, 2 bad input, 3 the run failed."""
    from suite.devices import NoDevice
    from suite.handle import LaneFault
    from suite.plan import BadRequest
    from suite.run import RunFailed
    from suite.store import NotWritten, StoreError

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        cli.main(standalone_mode=False)
    except NotWritten as error:
        _end(3, error)
    except (click.UsageError, BadRequest, NoDevice, StoreError) as error:
        _end(2, error)
    except (RunFailed, LaneFault, Stopped, OSError) as error:
        _end(3, error)
    except (click.Abort, KeyboardInterrupt):
        _end(3, Stopped("interrupted"))


if __name__ == "__main__":
    main()
