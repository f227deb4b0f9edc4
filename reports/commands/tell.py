"""`list`, `doctor` and `table`: what can be named, what is here, what was measured."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import read_once, show
from reports.commands.options import format_option

FORMATS = ("simple", "github", "csv", "json")
METRICS = ("time", "memory", "error", "start", "clock")
KINDS = ("variants", "models", "sweeps")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
def list_(kind: str) -> None:
    """Show what can be named: variants, models or sweeps.

    \b
    Example:
      python run_bench.py list variants
    """
    from reports import listing

    show({"variants": listing.variants, "models": listing.models}.get(kind, listing.sweeps)())


@click.command()
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
    from variants.catalog import CATALOG
    from variants.software import software

    used = devices.chosen(device)
    hardware = used.hardware
    with nvml.opened(used.uuid) as gpu:
        seen = gpu if isinstance(gpu, nvml.Absent) else gpu.circumstances()
    troubles = health.of_machine(hardware, os.environ)
    if not isinstance(seen, nvml.Absent):
        troubles += health.of_gpu(seen)
    show(report.machine(hardware, software(), machine.circumstances({}), seen))
    show(f"\n{report.troubles(troubles)}\n")
    findings = probe.probe(CATALOG, machine.policy(used.kind, hardware.cores), used.name)
    show(report.variants(findings))
    alibi = {variant.name for variant in CATALOG if variant.answers == "alibi"}
    if not any(one.status == "measured" and one.variant in alibi for one in findings):
        raise SystemExit(3)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@format_option(FORMATS)
@click.option(
    "--metric",
    type=click.Choice(METRICS),
    default="time",
    show_default=True,
    help="What the columns for people show.",
)
def table(files: Sequence[Path], form: Any, metric: Any) -> None:
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

    show(render(groups(read_once(files)), form, metric))
