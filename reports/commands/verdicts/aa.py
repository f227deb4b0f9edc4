"""`aa`: this tree against itself, and how reliable the verdicts of `ab` are here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import default_path, read_once, refuse_options, show
from reports.commands.options import pair_options
from reports.commands.verdicts.duel import measure_duel
from reports.commands.verdicts.judge import exit_by_verdict

_OF_RATES = {"pairs", "gate", "form"}
"""The options of `aa` that say something where nothing is measured."""


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--inject", help="Slow the head's first cell by this share, such as 5%.")
@pair_options
@click.pass_context
def aa(
    context: click.Context,
    /,
    files: Sequence[Path],
    inject: str | None,
    form: Any,
    **options: Any,
) -> None:
    """Compare this tree with itself: can `ab` be trusted here?

    Any alarm is false, unless --inject planted a slowdown. The pairs, with those of earlier FILES,
    give the rate of false alarms, the spread of each cell, and how often a slowdown is found.
    --pairs 0 measures nothing and uses FILES alone. Exits 1 if a cell is slower.

    \b
    Example:
      python run_bench.py aa --pairs 24 --out results/aa.jsonl
      python run_bench.py aa --pairs 0 results/aa*.jsonl
      python run_bench.py aa --inject 5% --variants sdpa_key
    """
    from reports.text.screen import screen
    from reports.verdicts import calibration, calibration_table
    from reports.verdicts.compare_pairs import compare_pairs
    from reports.verdicts.verdict_table import render
    from suite.cases.parse import share
    from suite.clocks.planted_slowdown import LARGEST_SLOWDOWN
    from suite.pairs.sides import head_side
    from variants.host.software import software

    earlier = read_once(files)
    calibration.pairs_of(earlier)  # raises now rather than after measuring
    gate = share("--gate", options["gate"])
    comparison = None
    if options["pairs"] == 0 and not earlier:
        raise click.UsageError("--pairs 0 measures nothing: name FILES of earlier pairs")
    if options["pairs"] == 0:
        of_measuring = [name for name in context.params if name not in {"files", *_OF_RATES}]
        refuse_options(context, of_measuring, "beside --pairs 0: nothing is measured")
    else:
        injected = None if inject is None else share("--inject", inject, below=LARGEST_SLOWDOWN)
        options["out"] = options["out"] or default_path("aa")
        itself = head_side(software(), calibration.ITSELF)
        measured = measure_duel(itself, inject=injected, **options)
        comparison = compare_pairs(measured)
        if form != "json":
            show(f"{render(comparison, form, screen())}\n")
        earlier.append(measured)
    pairs = calibration.pairs_of(earlier)
    rates = calibration.calibrate(pairs, gate) if len(pairs) > 1 else None
    show(calibration_table.render(rates, form, comparison, screen()))
    if comparison is not None:
        exit_by_verdict(comparison)
