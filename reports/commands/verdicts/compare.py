"""`compare`: is this a regression? From files that are measured already."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import refuse_options, warn
from reports.commands.options import GATE, VERDICT_FORMATS, format_option
from reports.commands.verdicts.judge import judge, judge_pairs


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("head", type=click.Path(path_type=Path), required=False)
@GATE
@click.option(
    "--across",
    type=click.Choice(["software"]),
    multiple=True,
    help="Compare although the versions of torch or other packages differ.",
)
@format_option(VERDICT_FORMATS)
@click.pass_context
def compare(
    context: click.Context,
    /,
    base: Path,
    head: Path | None,
    gate: str,
    across: Sequence[str],
    form: Any,
) -> None:
    """Say of each cell whether it regressed, from files of two runs.

    BASE and HEAD are two results files of runs on the same hardware, software and policy; or BASE
    is one file of pairs that `ab` wrote. Separate runs see large changes only, `ab` small ones too.
    Exits 1 if a cell regressed, 3 if none could be judged.

    \b
    Example:
      python run_bench.py compare results/before.jsonl results/after.jsonl
    """
    from reports.verdicts.compare_runs import compare_runs
    from suite.cases.parse import share
    from suite.records.store import read

    least = share("--gate", gate)
    if head is None:
        refuse_options(context, {"gate", "across"}, "beside one file, which has its own plan")
    before = read(base)
    after = None if head is None else read(head)
    for file in (before, after):
        warn(file.warnings if file else [])
    if after is None:
        judge_pairs(before, form)
    else:
        judge(compare_runs(before, after, least, across), form)
