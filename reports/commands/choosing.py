"""`choose`, `best` and `regret`: make a selection, ask it for advice, and price the advice."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import (
    default_path,
    read_once,
    refuse_existing,
    refuse_options,
    show,
    warn,
)
from reports.commands.options import format_option, grid_options, question_options
from reports.commands.run import measure

ANSWER_FORMATS = ("simple", "json")
OBJECTIVES = ("eager", "graph", "memory")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--tune", is_flag=True, help="Measure first, for as long as --budget lasts.")
@click.option("--budget", default="2m", show_default=True, help="Time for --tune, such as 5m.")
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    default=OBJECTIVES[0],
    show_default=True,
    help="Rank by a call's time, its time on the device alone, or its memory.",
)
@click.option("--max-memory", help="Leave out variants that take more, such as 512MiB.")
@click.option(
    "--max-error",
    type=float,
    help="Leave out variants with a larger error against the oracle, such as 1e-3.",
)
@click.option(
    "--others", is_flag=True, help="Peers and your kernels are candidates too; writes nothing."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write the selection to as well."
)
@grid_options
@click.pass_context
def choose(
    context: click.Context,
    /,
    files: Sequence[Path],
    tune: bool,
    budget: str,
    objective: Any,
    max_memory: str | None,
    max_error: float | None,
    others: bool,
    out: Path | None,
    **grid: Any,
) -> None:
    """Choose the fastest agreeing variant for each problem measured.

    The selection goes to your cache directory, where `best` and the variant `auto` find it, and to
    --out. What was chosen before is the incumbent, and yields only to a sure gain over 2%. With
    --others, peers and kernels of yours that were measured are chosen among too; `auto` can't take
    them, so nothing is written.

    \b
    Example:
      python run_bench.py choose results/FILE.jsonl
      python run_bench.py choose --tune --models mpt-7b --lengths 2048 --budget 5m
    """
    from reports.choosing.candidates import Rules
    from suite.cases import parse
    from variants.selection.files import user_folder

    rules = Rules(
        objective,
        None if max_memory is None else parse.size_bytes("--max-memory", max_memory),
        parse.factor("--max-error", max_error),
        others,
    )
    if others and out is not None:
        raise click.UsageError(f"--out {out} beside --others, which writes nothing; drop one")
    budget_s = parse.seconds("--budget", budget)
    if bool(files) == tune:
        raise click.UsageError("name results FILES, or give --tune to measure; one of them")
    if grid["inputs"] is not None:
        raise click.UsageError(
            f"--inputs {grid['inputs']}: selections are of random inputs; drop --inputs"
        )
    if not tune:
        refuse_options(context, {"budget", *grid}, "needs --tune, which measures")
    cache = user_folder()
    results = read_once([_tune(budget_s, out, grid)] if tune else files)
    if others:
        _show_with_others(results, rules)
    else:
        _write(results, rules, cache, out)


def _show_with_others(results: Any, rules: Any) -> None:
    """Show what would be chosen if peers and the user's kernels could be."""
    from reports.choosing.answer_text import selection_table
    from reports.choosing.choose import choose as choose_from
    from reports.text.screen import screen

    new = choose_from(results, rules)
    warn([*(f"nothing chosen for {line}" for line in new.left_out), *new.cautions])
    chosen = selection_table(new.selection, screen())
    show(f"{chosen}\n\nNothing written: `auto` takes ours alone.")


def _write(results: Any, rules: Any, cache: Path, out: Path | None) -> None:
    """Choose beside what was chosen before, and write the selection to the cache and to `out`."""
    from reports.choosing import write_selection
    from reports.choosing.answer_text import selection_table
    from reports.choosing.choose import choose as choose_from
    from reports.text.screen import screen
    from variants.selection.files import path_of

    key = results[0].header.hardware.key
    paths = [path_of(cache, key)] if out is None else [_check_name(key, out), path_of(cache, key)]
    with write_selection.lock_folder(cache):
        before, refused = write_selection.incumbent(paths)
        warn(refused)
        new = choose_from(results, rules, before)
        warn(f"nothing chosen for {line}" for line in new.left_out)
        warn([new.dropped] if new.dropped else [])
        warn(write_selection.losses(paths, before, new.selection))
        warn(new.cautions)
        for path in dict.fromkeys(paths):
            write_selection.write(path, new.selection)
    written = "\n".join(f"Selection: {path}" for path in dict.fromkeys(paths))
    show(f"{selection_table(new.selection, screen())}\n\n{written}")


def _check_name(hardware_key: str, out: Path) -> Path:
    """Return `out`. Raises UsageError unless it is named by the hardware key, as lookups expect."""
    if out.name != f"{hardware_key}.json":
        raise click.UsageError(f"--out {out}: name it {hardware_key}.json, as it is looked for")
    return out


def _tune(budget_s: float, out: Path | None, grid: dict[str, Any]) -> Path:
    """Race for `budget_s` seconds and return the results file.

    Raises BadRequest for cases of which no selection has advice.
    """
    from reports.choosing.choose import problem_of
    from suite.cases.plan import without
    from suite.cases.request import Request
    from suite.conditions.device import device_for
    from suite.records.fingerprint import run_header
    from variants.catalog import AUTO

    used = device_for(grid.pop("device"))
    if out is not None:
        _check_name(used.hardware.key, out)
    plan = without(Request(**grid).plan(used.name, used.half), AUTO)
    for case in plan.cases:
        problem_of(case)  # refuses now what could not be chosen for after the race
    header = run_header(plan, sys.argv[1:], used)
    path = default_path(f"tuned-{header.hardware.key}")
    measure(path, header, used, budget_s)
    click.echo(f"Results: {path}", err=True)
    return path


@click.command()
@question_options
@click.option("--hardware", help="Another device: its hardware key, or a part of it.")
@click.option("--explain", is_flag=True, help="Show every candidate with its expected time.")
@format_option(ANSWER_FORMATS)
def best(
    device: str | None, hardware: str | None, explain: bool, form: str, **question: Any
) -> None:
    """Say which variant to use, how fast it is, and how sure that is.

    Answers come from selections, which `choose` writes: from this very problem, from lengths around
    it, or else from other software, another shape or a device of the same architecture. The last
    line of an answer says which.

    \b
    Example:
      python run_bench.py best --models mpt-7b --length 6000 --explain
      python run_bench.py best --heads 16 --length 2048 --mode backward
    """
    from reports.choosing.answer_text import answers_text
    from reports.choosing.choose import problem_of
    from reports.choosing.lookup import selections_of_device, selections_of_hardware
    from reports.text.screen import screen
    from suite.cases.request import Request
    from suite.conditions.device import device_for
    from variants.selection.pick import pick

    if hardware is not None and device is not None:
        raise click.UsageError("give --device of this machine or --hardware of another, not both")
    used = None if hardware is not None else device_for(device)
    if used is None:
        selections, refused = selections_of_hardware(hardware or "")
    else:
        selections, refused = selections_of_device(used.hardware)
    warn(refused)
    if question["dtypes"] is None:
        question["dtypes"] = "bfloat16" if used is None else used.half
    answers = [pick(problem_of(case), selections) for case in Request(**question).cases()]
    show(answers_text(answers, form, used and used.name, screen(), explain=explain))


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
