"""`list`, `doctor` and `table`: the names to use, the machine, and results as tables."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import read_once, show
from reports.commands.options import DEVICE, format_option

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
    from reports.pages import listing

    show({"variants": listing.variants, "models": listing.models}.get(kind, listing.sweeps)())


@click.command()
@DEVICE
def doctor(device: str | None) -> None:
    """Say what this machine has and what spoils measurements.

    Which variants run here, and why the others don't, comes with it: every one is tried once on
    a tiny case, which takes half a minute. Exits 0 when at least
    one ALiBi variant runs.

    \b
    Example:
      python run_bench.py doctor
    """
    from reports.pages import doctor as page
    from suite.conditions import health, nvml
    from suite.conditions.device import device_for
    from suite.conditions.policy import circumstances, policy
    from suite.lanes.probe import probe
    from variants.catalog import CATALOG
    from variants.host.software import software

    used = device_for(device)
    hardware = used.hardware
    state = nvml.gpu_state(used.uuid)
    show(page.machine_lines(hardware, software(), circumstances({}), state))
    show(f"\n{page.troubles(health.troubles(hardware, os.environ, state))}\n")
    results = probe(CATALOG, policy(used.kind, hardware.cores), used.name)
    show(page.variants(results))
    alibi = {variant.name for variant in CATALOG if variant.answers == "alibi"}
    if not any(result.status == "measured" and result.variant in alibi for result in results):
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
    from reports.tables.cells import groups
    from reports.tables.table import render

    show(render(groups(read_once(files)), form, metric))
