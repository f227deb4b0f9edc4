"""`table`: results as a table for people, or every figure for programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import read_once, show
from reports.commands.options import format_option

FORMATS = ("simple", "github", "csv", "json")
METRICS = ("time", "memory", "error", "start", "clock")


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
    from reports.overview import github, terminal
    from reports.tables.cells import groups
    from reports.tables.table import render
    from reports.text.screen import screen

    measured = groups(read_once(files))
    if form == "simple":
        show(terminal.overview(measured, metric, screen()))
    elif form == "github":
        show(github.page(measured, metric))
    else:
        show(render(measured, form))
