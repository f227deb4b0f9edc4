"""`regret`: what the advice of results costs at lengths that were not measured."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import default_path, read_once, refuse_existing, show
from reports.commands.options import ANSWER_FORMATS, format_option
from reports.commands.run import measure


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--fresh", help="Race at lengths between those of FILES, for so long: 5m.")
@click.option(
    "--unseen",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A results file of such a race, done before; may be given again.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Results file of --fresh.")
@format_option(ANSWER_FORMATS)
def regret(
    files: Sequence[Path],
    fresh: str | None,
    unseen: Sequence[Path],
    out: Path | None,
    form: str,
) -> None:
    """Say what the advice of FILES costs at lengths not measured.

    The cost is the regret: how much slower the advised variant is than the fastest. Each measured
    length between two others is left out and priced. --fresh races at lengths that nobody measured:
    one half of the rounds picks the fastest, the other half times it and the advised variant. Two
    halves of the passes show how often two tunings choose differently.

    \b
    Example:
      python run_bench.py regret results/FILE.jsonl
      python run_bench.py regret results/FILE.jsonl --fresh 5m
    """
    from reports.choosing import regret as pricing
    from reports.choosing.regret_table import render
    from reports.text.screen import screen
    from suite.cases import parse

    if fresh is not None and unseen:
        raise click.UsageError("give --fresh to race, or --unseen FILE of an earlier race")
    if fresh is None and out is not None:
        raise click.UsageError(f"--out {out} is for --fresh; drop --out")
    results = read_once(files)
    if fresh is not None:
        unseen = [_race_between_lengths(results, parse.seconds("--fresh", fresh), out)]
    priced = {"Left out": pricing.price_left_out(results)}
    if unseen:
        priced["Unseen"] = pricing.price_unseen(results, read_once(unseen))
    show(render(priced, pricing.flips(results), form, screen()))


def _race_between_lengths(files: Sequence[Any], budget_s: float, out: Path | None) -> Path:
    """Race at lengths between those of files, for `budget_s` seconds; return the results file.

    Raises UsageError if this is another device than that of the files, if the files have no two
    lengths to race between, and if `out` exists.
    """
    from reports.choosing.candidates import Rules
    from reports.choosing.choose import choose
    from reports.choosing.regret import between_lengths
    from suite.cases.plan import for_cases
    from suite.conditions.device import device_for
    from suite.records.fingerprint import differences, run_header

    measured = files[0].header
    used = device_for(measured.plan.device)
    cases = between_lengths(choose(files, Rules()).selection)
    if not cases:
        raise click.UsageError("--fresh: FILES have no two lengths of a shape to race between")
    plan = for_cases(cases, [file.header.plan for file in files])
    header = run_header(plan, sys.argv[1:], used)
    if differing := differences(header, measured):
        raise click.UsageError(
            f"--fresh: this is {'; '.join(differing)}; race where FILES are from"
        )
    path = out or default_path(f"unseen-{header.hardware.key}")
    refuse_existing(path, f"--unseen {path} prices it")
    measure(path, header, used, budget_s)
    click.echo(f"Results: {path}", err=True)
    return path
