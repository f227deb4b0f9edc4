"""`choose`, `best` and `regret`: a selection, its advice, and what the advice costs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import default_path, read_once, refuse_given, show, warn
from reports.commands.options import format_option, grid_options
from reports.commands.run import measure
from suite.run import Cells

ANSWER_FORMATS = ("simple", "json")
OBJECTIVES = ("eager", "graph", "memory")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--tune", is_flag=True, help="Measure first, for as long as --budget lasts.")
@click.option("--budget", default="2m", show_default=True, help="Of --tune, such as 5m.")
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    default=OBJECTIVES[0],
    show_default=True,
    help="A call's time, its time on the device alone, or its memory.",
)
@click.option("--max-memory", help="Leave out what takes more, such as 512MiB.")
@click.option("--max-error", type=float, help="Leave out what is further from the oracle.")
@click.option("--out", type=click.Path(path_type=Path), help="Selection to write as well.")
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
    out: Path | None,
    **asked: Any,
) -> None:
    """Choose the fastest agreeing variant for each problem measured.

    The selection goes to your cache directory, where `best` and the variant `auto` find it, and to
    --out. What was chosen before is the incumbent, and yields only to a sure gain over 2%.

    \b
    Example:
      python run_bench.py choose results/FILE.jsonl
      python run_bench.py choose --tune --models mpt-7b --lengths 512,2048 --budget 5m
    """
    from reports import choose as chooser
    from reports import selection_file
    from reports.candidates import Rules
    from reports.chosen import selection_table
    from suite import asked as asked_for
    from variants.selection import of_user, path_of

    rules = Rules(
        objective,
        None if max_memory is None else asked_for.size("--max-memory", max_memory),
        asked_for.factor("--max-error", max_error),
    )
    budget_s = asked_for.seconds("--budget", budget)
    if bool(files) == tune:
        raise click.UsageError("name results FILES, or give --tune to measure; one of them")
    if not tune:
        refuse_given(context, {"budget", *asked}, "needs --tune, which measures")
    cache = of_user()
    read_files = read_once([_tuned(budget_s, out, asked)] if tune else files)
    key = read_files[0].machine.hardware.key
    paths = [path_of(cache, key)] if out is None else [_named(out, key), path_of(cache, key)]
    with selection_file.alone(cache):
        before, refused = selection_file.incumbent(paths)
        warn(refused)
        chosen = chooser.choose(read_files, rules, before)
        warn(f"nothing chosen for {line}" for line in chosen.left_out)
        warn([chosen.dropped] if chosen.dropped else [])
        for path in dict.fromkeys(paths):
            selection_file.write(path, chosen.selection)
    written = "\n".join(f"Selection: {path}" for path in dict.fromkeys(paths))
    show(f"{selection_table(chosen.selection)}\n\n{written}")


def _named(out: Path, hardware_key: str) -> Path:
    """Return a selection's path. Raises UsageError for a name under which nobody would find it."""
    if out.name != f"{hardware_key}.json":
        raise click.UsageError(f"--out {out}: name it {hardware_key}.json, as it is looked for")
    return out


def _tuned(budget_s: float, out: Path | None, asked: dict[str, Any]) -> Path:
    """Measure a race bounded in time, and return its results file."""
    from suite import devices, plan
    from suite.fingerprint import fingerprint
    from variants.catalog import AUTO

    used = devices.chosen(asked.pop("device"))
    if out is not None:
        _named(out, used.hardware.key)
    whole = plan.without(plan.plan(device=used.name, passes=None, **asked), AUTO)
    machine = fingerprint(whole, sys.argv[1:], used)
    path = default_path(f"tuned-{machine.hardware.key}")
    measure(path, machine, used, Cells(), budget_s)
    click.echo(f"Results: {path}", err=True)
    return path


@click.command()
@click.option("--models", help="Names: `list models`; or a file such as my.json.")
@click.option("--length", required=True, help="Keys: the sequence's length, or several.")
@click.option("--mode", default="forward", show_default=True, help="forward, backward or decode.")
@click.option("--dtype", default="bfloat16", show_default=True, help="bfloat16, float16, float32.")
@click.option("--q-len", type=int, help="Queries at the end of the length, as a chunk.")
@click.option("--batch", type=int, help="Batch size.")
@click.option("--heads", type=int, help="Heads.")
@click.option("--kv-heads", type=int, help="Heads of k and v, shared by --heads evenly.")
@click.option("--head-dim", type=int, help="Size of a head.")
@click.option("--noncausal", is_flag=True, help="Every query sees every key.")
@click.option("--layout", help="bhnd, or bnhd as models hold their tensors.")
@click.option("--logit-scale", type=float, help="Factor on the random q, k and v.")
@click.option("--device", help="cpu, cuda or cuda:1; without it a GPU where torch can use one.")
@click.option("--hardware", help="Another device, by the name of its selection.")
@click.option("--explain", is_flag=True, help="Show every candidate with its expected time.")
@format_option(ANSWER_FORMATS)
def best(
    length: str,
    mode: str,
    dtype: str,
    device: str | None,
    hardware: str | None,
    explain: bool,
    form: str,
    **asked: Any,
) -> None:
    """Say which variant to use, how sure that is, and what it will take.

    Answers come from selections (`choose`): this problem measured, or interpolated between two
    lengths, or what was measured with other software, another shape or a device of the same
    architecture, and then they say so.

    \b
    Example:
      python run_bench.py best --models mpt-7b --length 6000 --explain
      python run_bench.py best --heads 16 --head-dim 64 --length 2048 --mode backward --format json
    """
    from reports.choose import problem_of
    from reports.chosen import answers
    from reports.sources import of_device, of_hardware
    from suite import devices, question
    from variants.pick import pick

    if hardware is not None and device is not None:
        raise click.UsageError("give --device of this machine or --hardware of another, not both")
    used = None if hardware is not None else devices.chosen(device)
    known, refused = of_hardware(hardware or "") if used is None else of_device(used.hardware)
    warn(refused)
    cases = question.cases(length=length, mode=mode, dtype=dtype, **asked)
    found = [pick(problem_of(case), known) for case in cases]
    show(answers(found, form, used and used.name, explain=explain))


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
    """Price the advice that FILES give for lengths that they did not measure.

    Each measured length between two others is left out and priced. --fresh races at lengths that
    nobody measured: the fastest is picked on one half of the rounds, and both are priced on the
    other. Two halves of the passes tell how often two tunings choose differently.

    \b
    Example:
      python run_bench.py regret results/FILE.jsonl
      python run_bench.py regret results/FILE.jsonl --fresh 5m
    """
    from reports import regret as pricing
    from reports.regretted import render
    from suite import asked as asked_for

    if fresh is not None and unseen:
        raise click.UsageError("give --fresh to race, or --unseen FILE of an earlier race")
    if fresh is None and out is not None:
        raise click.UsageError(f"--out {out} is for --fresh; drop --out")
    read_files = read_once(files)
    if fresh is not None:
        unseen = [_raced_between(read_files, asked_for.seconds("--fresh", fresh), out)]
    found = {"Left out": pricing.left_out(read_files)}
    if unseen:
        found["Unseen"] = pricing.unseen(read_files, read_once(unseen))
    show(render(found, pricing.flips(read_files), form))


def _raced_between(files: Sequence[Any], budget_s: float, out: Path | None) -> Path:
    """Race at lengths between those of files, on the device they were measured on."""
    from reports.candidates import Rules
    from reports.choose import choose
    from reports.regret import between_lengths
    from suite import devices, plan
    from suite.fingerprint import differences, fingerprint

    of_files = files[0].machine
    used = devices.chosen(of_files.plan.device)
    cases = between_lengths(choose(files, Rules()).selection)
    if not cases:
        raise click.UsageError("--fresh: FILES have no two lengths of a shape to race between")
    whole = plan.of_cases(cases, [file.machine.plan for file in files])
    machine = fingerprint(whole, sys.argv[1:], used)
    if differing := differences(machine, of_files):
        raise click.UsageError(
            f"--fresh: this is {'; '.join(differing)}; race where FILES are from"
        )
    path = out or default_path(f"unseen-{machine.hardware.key}")
    if path.exists():
        raise click.UsageError(f"--out {path} exists; --unseen {path} prices it")
    measure(path, machine, used, Cells(), budget_s)
    click.echo(f"Results: {path}", err=True)
    return path
