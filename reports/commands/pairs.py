"""`compare`, `ab` and `aa`: is this a regression, and how reliable is that answer here?"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reports.commands.console import (
    default_path,
    read_once,
    refuse_existing,
    refuse_options,
    show,
    warn,
    warn_of_troubles,
)
from reports.commands.options import GATE, VERDICT_FORMATS, format_option, pair_options
from suite.conditions.device import Device
from suite.failures import RunFailed

if TYPE_CHECKING:
    from suite.cases.plan import Plan

_OF_RATES = {"pairs", "gate", "form"}
"""The options of `aa` that say something where nothing is measured."""


class NothingJudged(RunFailed):
    """No cell of a comparison has a verdict; the text says what one takes."""


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


@click.command()
@click.option("--base", help="A git reference, such as main or HEAD~1; or a kernel's file.")
@click.option("--base-python", help="Another interpreter, and so another torch.")
@click.option("--head", help="The kernel's file that --base, a file too, is compared with.")
@pair_options
def ab(
    base: str | None, base_python: str | None, head: str | None, form: Any, **options: Any
) -> None:
    """Compare this tree with another version of it, in pairs.

    The other version is a git reference or an interpreter; or --base and --head are two kernels'
    files. Base and head take turns of 50 ms in pairs of fresh processes. What looks slower
    after the first stage is measured again in a second before it raises an alarm. Exits 1 for a
    regression. The suite is this tree's on both sides; only variants or interpreter differ.

    \b
    Example:
      python run_bench.py ab --base main --budget 5m
      python run_bench.py ab --base-python /opt/old/bin/python --variants flex
      python run_bench.py ab --base ./old_kernel.py --head ./new_kernel.py
    """
    from suite.kernels.user_kernels import read_kernel
    from suite.lanes.interpreter import import_folder
    from suite.pairs.sides import interpreter_side, kernel_sides, reference_side
    from variants.host.software import software

    if (base is None) == (base_python is None):
        raise click.UsageError("give --base REF or --base-python EXE, one of them")
    if head is None and base is not None and base.partition("?")[0].endswith(".py"):
        raise click.UsageError(f"--base {base} is a kernel's file: name the other one with --head")
    if head is not None:
        if base is None or options["variants"] is not None:
            raise click.UsageError(
                "--head goes with --base, each a kernel's file, and no --variants"
            )
        kernels = read_kernel(base, "--base"), read_kernel(head, "--head")
        options["variants"] = head
        base_side, head_side = kernel_sides(*kernels, software())
        judge_pairs(_duel(base_side, head=head_side, **options), form)
    elif base is not None:
        with reference_side(base, software()) as side:
            judge_pairs(_duel(side, **options), form)
    elif base_python is not None:
        with import_folder() as folder:
            judge_pairs(_duel(interpreter_side(base_python, folder), **options), form)


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
        measured = _duel(itself, inject=injected, **options)
        comparison = compare_pairs(measured)
        if form != "json":
            show(f"{render(comparison, form, screen())}\n")
        earlier.append(measured)
    pairs = calibration.pairs_of(earlier)
    rates = calibration.calibrate(pairs, gate) if len(pairs) > 1 else None
    show(calibration_table.render(rates, form, comparison, screen()))
    if comparison is not None:
        exit_by_verdict(comparison)


def _duel(
    base: Any,
    *,
    head: Any = None,
    device: str | None,
    pairs: int,
    gate: str,
    budget: str | None,
    out: Path | None,
    inject: float | None = None,
    **grid: Any,
) -> Any:
    """Measure `base` against `head`, or this tree, in pairs and return the `Results`.

    Raises UsageError for a slowdown on a GPU, and for a file that exists; BudgetTooSmall.
    """
    from reports.commands.progress import progress
    from reports.verdicts.compare_pairs import suspected_cells
    from suite.cases import parse
    from suite.conditions.device import device_for
    from suite.pairs.sides import head_side, with_kernels
    from suite.pairs.stages import measure_pairs, refuse_small, this_tree
    from suite.records.fingerprint import run_header
    from suite.records.store import read

    pairs, least = parse.pairs(pairs), parse.share("--gate", gate)
    budget_s = None if budget is None else parse.seconds("--budget", budget)
    used = device_for(device)
    if inject is not None and used.kind != "cpu":
        raise click.UsageError(f"--inject on {used.name}: it slows the host; give --device cpu")
    plan = _paired_plan(base, used, grid)
    if budget_s is not None:
        refuse_small(budget_s, plan)
    header = run_header(plan, sys.argv[1:], used)
    path = out or default_path(f"pairs-{header.hardware.key}")
    refuse_existing(path, "name a new file")
    warn_of_troubles(used)
    with progress() as watch:
        head = head or head_side(header.software, this_tree(header.circumstances))
        measure_pairs(
            with_kernels(base, plan.kernels),
            with_kernels(head, plan.kernels),
            header,
            used.uuid,
            path,
            watch,
            pairs=pairs,
            budget_s=budget_s,
            gate=least,
            suspected=lambda: suspected_cells(read(path), least),
            inject=inject,
        )
    return read(path)


def _paired_plan(base: Any, device: Device, grid: dict[str, Any]) -> "Plan":
    """Return the plan of the grid options, by default of the sweep for pairs.

    Without --variants it also has variants of `base` that are gone from this tree's catalog. Raises
    BadRequest for options that make no plan.
    """
    from suite.cases.plan import paired
    from suite.cases.request import Request
    from suite.cases.sweeps import PAIRED_SWEEP

    has_shapes = grid["models"] or grid["inputs"]
    sweep = grid["sweep"] or (None if has_shapes else PAIRED_SWEEP)
    catalog = base.variants.values() if grid["variants"] is None else ()
    return paired(Request(**grid | {"sweep": sweep}).plan(device.name, device.half), catalog)


def judge_pairs(pairs: Any, form: Any) -> None:
    """Show the comparison of a file of pairs and end with its verdict.

    For GitHub it also says what such a comparison would have found.
    """
    from reports.pull_request.power import power
    from reports.verdicts.compare_pairs import compare_pairs

    comparison = compare_pairs(pairs)
    judge(comparison, form, power(pairs) if form == "github" else None)


def judge(comparison: Any, form: Any, power: Any = None) -> None:
    """Show a comparison and end with its verdict."""
    from reports.pull_request.comment import comment
    from reports.text.screen import screen
    from reports.verdicts.verdict_table import render

    is_comment = form == "github"
    show(comment(comparison, power) if is_comment else render(comparison, form, screen()))
    exit_by_verdict(comparison)


def exit_by_verdict(comparison: Any) -> None:
    """Exit 1 if anything regressed. Raises NothingJudged, which exits with 3."""
    if comparison.regressed:
        raise SystemExit(1)
    if not comparison.judged:
        raise NothingJudged(
            f"none of {len(comparison.lines)} cells was judged: a verdict takes 2 passes on each "
            "side or 2 pairs, and a quiet machine; measure again with more --passes or --pairs"
        )
