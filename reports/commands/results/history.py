"""`history`: cells over time, and what made each step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import read_once, show, warn
from reports.commands.options import VERDICT_FORMATS, format_option
from suite.failures import RunFailed


class TooShort(RunFailed):
    """No cell of a history has runs enough for a step; the text says how many it takes."""


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--fail", is_flag=True, help="Exit 1 if a cell got slower and only code explains it.")
@format_option(VERDICT_FORMATS)
def history(paths: Sequence[Path], fail: bool, form: Any) -> None:
    """Show where cells got slower from run to run, and what caused it.

    PATHS are results files of `run`, or folders of them. A step at a change of torch, driver, power
    limit or policy is the environment's; one that the canary shares, or at which another unit of
    the same hardware began to measure, is the machine's.

    \b
    Example:
      python run_bench.py history results/
      python run_bench.py history results/main-*.jsonl --fail
    """
    from reports.history.change_points import FEWEST_RUNS
    from reports.history.text import render
    from reports.history.timeline import timeline
    from reports.text.screen import screen

    runs = timeline(_runs(paths))
    show(render(runs, form, screen()))
    if fail and runs.regressed:
        raise SystemExit(1)
    if fail and not runs.judged:
        raise TooShort(
            f"none of {len(runs.short)} cells was judged: a step takes {FEWEST_RUNS} runs of a "
            "cell; name more results files"
        )


def _runs(paths: Sequence[Path]) -> list[Any]:
    """Read files, and those in folders; warnings name files of pairs and of `lengths`, left out.

    Raises UsageError for a folder without any.
    """
    from suite.quality.results import is_of_lengths
    from suite.records.store import is_duel_record

    named = [path for path in paths if not path.is_dir()]
    inside = [file for path in paths if path.is_dir() for file in sorted(path.glob("*.jsonl"))]
    within = [file for file in inside if file in named or not is_of_lengths(file)]
    warn(f"{file}: a file of `lengths`, left out" for file in inside if file not in within)
    files = []
    for file in read_once([*within, *named]):
        if file.path not in named and any(is_duel_record(record) for record in file.records):
            warn([f"{file.path}: a file of pairs, left out"])
        else:
            files.append(file)
    if not files:
        has_deeper = any(paths[0].glob("*/*.jsonl"))
        remedy = f"name {paths[0]}/*, its folders" if has_deeper else "name FILES or folders"
        raise click.UsageError(f"{paths[0]}: no results file of `run` in it; {remedy}")
    return files
