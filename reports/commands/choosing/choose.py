"""`choose`: the fastest agreeing variant for each problem, from results or measured now."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import default_path, read_once, refuse_options, show, warn
from reports.commands.options import grid_options
from reports.commands.run import measure

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
        choose_and_write(results, rules, cache, out)


def _show_with_others(results: Any, rules: Any) -> None:
    """Show what would be chosen if peers and the user's kernels could be."""
    from reports.choosing.answer_text import selection_table
    from reports.choosing.choose import choose as choose_from
    from reports.text.screen import screen

    new = choose_from(results, rules)
    warn([*(f"nothing chosen for {line}" for line in new.left_out), *new.cautions])
    chosen = selection_table(new.selection, screen())
    show(f"{chosen}\n\nNothing written: `auto` takes ours alone.")


def choose_and_write(results: Any, rules: Any, cache: Path, out: Path | None = None) -> None:
    """Choose from results beside what was chosen before; write it to the cache and to `out`."""
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
    from suite.cases.plan import without_variant
    from suite.cases.request import Request
    from suite.conditions.device import device_for
    from suite.records.fingerprint import run_header
    from variants.catalog import AUTO

    used = device_for(grid.pop("device"))
    if out is not None:
        _check_name(used.hardware.key, out)
    plan = without_variant(Request(**grid).plan(used.name, used.half), AUTO)
    for case in plan.cases:
        problem_of(case)  # refuses now what could not be chosen for after the race
    header = run_header(plan, sys.argv[1:], used)
    path = default_path(f"tuned-{header.hardware.key}")
    measure(path, header, used, budget_s)
    click.echo(f"Results: {path}", err=True)
    return path
