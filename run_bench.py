"""alibi-bench's command line: which ALiBi attention backend is fastest here, and is it right?"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from suite.devices import Device
from suite.record import Machine
from suite.run import Cells

_Command = TypeVar("_Command", bound=Callable[..., Any])

FORMATS = ("simple", "github", "csv", "json")
METRICS = ("time", "memory", "error", "start", "clock")
KINDS = ("variants", "models", "sweeps")
VERDICT_FORMATS = ("simple", "github", "json")
ANSWER_FORMATS = ("simple", "json")
OBJECTIVES = ("eager", "graph", "memory")
GATE = click.option(
    "--gate", default="1%", show_default=True, help="The least slowdown that may raise an alarm."
)


def format_option(forms: Sequence[str]) -> Callable[[_Command], _Command]:
    """Return the option --format, whose words for people come first."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="simple and github are for people, the others for programs.",
    )


def grid_options(command: _Command) -> _Command:
    """Add the options that say what is measured, on which device and how patiently."""
    for option in reversed(
        (
            click.option(
                "--device", help="cpu, cuda or cuda:1; without it a GPU where torch can use one."
            ),
            click.option("--sweep", help="Name: `list sweeps`; without it the command's default."),
            click.option("--models", help="Names: `list models`; or a file such as my.json."),
            click.option("--lengths", help="Sequence lengths in tokens, such as 512,1024."),
            click.option("--dtypes", help="Any of float32,bfloat16,float16."),
            click.option("--modes", help="Any of forward,backward (both together),decode."),
            click.option(
                "--q-len", type=int, help="Queries at the end of each length, as a chunk."
            ),
            click.option("--seq-lens", help="One batch of sequences, such as 900,512,40."),
            click.option("--variants", help="Names: `list variants`."),
            click.option("--batch", type=int, help="Batch size."),
            click.option("--heads", type=int, help="Heads."),
            click.option(
                "--kv-heads", type=int, help="Heads of k and v, shared by --heads evenly."
            ),
            click.option("--head-dim", type=int, help="Size of a head."),
            click.option("--noncausal", is_flag=True, help="Every query sees every key."),
            click.option("--layout", help="bhnd, or bnhd as models hold their tensors."),
            click.option("--logit-scale", type=float, help="Factor on the random q, k and v."),
            click.option(
                "--step-timeout", default="120s", show_default=True, help="Limit of one step."
            ),
            click.option(
                "--seed", type=int, default=0, show_default=True, help="Of inputs and orders."
            ),
        )
    ):
        command = option(command)
    return command


def pair_options(command: _Command) -> _Command:
    """Add the options of commands that measure pairs."""
    for option in reversed(
        (
            grid_options,
            click.option(
                "--pairs", type=int, default=14, show_default=True, help="Pairs of the first stage."
            ),
            click.option("--budget", help="Time for the whole, such as 5m; decides on --pairs."),
            GATE,
            format_option(VERDICT_FORMATS),
            click.option("--out", type=click.Path(path_type=Path), help="File of pairs to write."),
        )
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """Measure ALiBi attention backends against each other on this machine.

    Without a command: run the default sweep, then show its table.

    \b
    Example:
      python run_bench.py
      python run_bench.py run --lengths 512,1024 --dtypes bfloat16
      python run_bench.py table results/published/*/*.jsonl --format github
    """
    if context.invoked_subcommand is None:
        context.invoke(run)


@cli.command()
@grid_options
@click.option("--passes", type=int, help="Passes in fresh processes; intervals need 3.")
@click.option("--budget", help="Time for the whole run, such as 8m; the telling cases come first.")
@click.option("--strict", is_flag=True, help="Exit 1 for a disagreement, 3 for any other gap.")
@click.option("--out", type=click.Path(path_type=Path), help="Results file to write.")
@click.option("--resume", type=click.Path(path_type=Path), help="Results file to complete.")
@click.pass_context
def run(
    context: click.Context,
    /,
    device: str | None,
    budget: str | None,
    strict: bool,
    out: Path | None,
    resume: Path | None,
    **asked: Any,
) -> None:
    """Check, race and tabulate variants.

    A sweep is a grid of cases; options take the place of its parts. Every result is written as it
    comes, and --resume FILE completes a run that was cut short, measuring
    nothing twice but the baseline.

    \b
    Example:
      python run_bench.py run --sweep training --variants sdpa_key,compile
      python run_bench.py run --resume results/FILE.jsonl
    """
    from reports.versus import is_of_pairs
    from suite import asked as asked_for
    from suite import devices, plan, store
    from suite.fingerprint import fingerprint

    budget_s = None if budget is None else asked_for.seconds("--budget", budget)
    if resume is None:
        used, done = devices.chosen(device), Cells()
        machine = fingerprint(plan.plan(device=used.name, **asked), sys.argv[1:], used)
        path = out or _default_path(machine.hardware.key)
        if path.is_dir():
            raise click.UsageError(f"--out {path}: a folder; name a file in it")
        if path.exists():
            raise click.UsageError(f"--out {path} exists; --resume {path} completes it")
    else:
        others = [name for name in context.params if name not in {"resume", "strict", "budget"}]
        _refuse_given(context, others, "beside --resume: the file has its plan")
        path, before = resume, store.read(resume)
        _warn(before.warnings)
        if any(is_of_pairs(record) for record in before.records):
            raise click.UsageError(f"--resume {resume}: a file of pairs and no run's")
        used, done = devices.chosen(before.machine.plan.device), before.finished()
        machine = fingerprint(before.machine.plan, sys.argv[1:], used)
        plan.check_resumable(before.machine, machine)
    _measure(path, machine, used, done, budget_s)
    _conclude(path, strict=strict)


@cli.command("list")
@click.argument("kind", type=click.Choice(KINDS))
def list_(kind: str) -> None:
    """Show what can be named: variants, models or sweeps.

    \b
    Example:
      python run_bench.py list variants
    """
    from reports import listing

    _show({"variants": listing.variants, "models": listing.models}.get(kind, listing.sweeps)())


@cli.command()
@click.option("--device", help="cpu, cuda or cuda:1; without it a GPU where torch can use one.")
def doctor(device: str | None) -> None:
    """Say what this machine has and what spoils measurements.

    Which variants run here, and why the others don't, comes with it: every one is tried once on
    a tiny case, which takes half a minute. Exits 0 when at least
    one ALiBi variant runs.

    \b
    Example:
      python run_bench.py doctor
    """
    from reports import doctor as report
    from suite import devices, health, machine, nvml, probe
    from variants.catalog import CATALOG
    from variants.software import software

    used = devices.chosen(device)
    hardware = used.hardware
    with nvml.opened(used.uuid) as gpu:
        seen = gpu if isinstance(gpu, nvml.Absent) else gpu.circumstances()
    troubles = health.of_machine(hardware, os.environ)
    if not isinstance(seen, nvml.Absent):
        troubles += health.of_gpu(seen)
    _show(report.machine(hardware, software(), machine.circumstances({}), seen))
    _show(f"\n{report.troubles(troubles)}\n")
    findings = probe.probe(CATALOG, machine.policy(used.kind, hardware.cores), used.name)
    _show(report.variants(findings))
    alibi = {variant.name for variant in CATALOG if variant.answers == "alibi"}
    if not any(one.status == "measured" and one.variant in alibi for one in findings):
        raise SystemExit(3)


@cli.command()
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
    from reports.cells import groups
    from reports.table import render
    from suite.store import read

    read_files = [read(file) for file in {file.resolve(): file for file in files}.values()]
    for file in read_files:
        _warn(file.warnings)
    _show(render(groups(read_files), form, metric))


@cli.command()
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
    from reports.candidates import Rules
    from reports.chosen import selection_table
    from suite import asked as asked_for
    from suite.store import read
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
        _refuse_given(context, {"budget", *asked}, "needs --tune, which measures")
    read_files = [read(file) for file in ([_tuned(budget_s, asked)] if tune else files)]
    for file in read_files:
        _warn(file.warnings)
    cached = path_of(of_user(), read_files[0].machine.hardware.key)
    paths = [cached] if out is None else [cached, out]
    before, refused = chooser.incumbent(reversed(paths))
    _warn(refused)
    chosen = chooser.choose(read_files, rules, before)
    _warn(f"nothing chosen for {line}" for line in chosen.left_out)
    for path in paths:
        chooser.write(path, chosen.selection)
    written = "\n".join(f"Selection: {path}" for path in paths)
    _show(f"{selection_table(chosen.selection)}\n\n{written}")


def _tuned(budget_s: float, asked: dict[str, Any]) -> Path:
    """Measure a race bounded in time, and return its results file."""
    from suite import devices, plan
    from suite.fingerprint import fingerprint
    from variants.catalog import AUTO

    used = devices.chosen(asked.pop("device"))
    whole = plan.without(plan.plan(device=used.name, passes=None, **asked), AUTO)
    machine = fingerprint(whole, sys.argv[1:], used)
    path = _default_path(f"tuned-{machine.hardware.key}")
    _measure(path, machine, used, Cells(), budget_s)
    click.echo(f"Results: {path}", err=True)
    return path


@cli.command()
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

    if hardware is not None:
        known, refused = of_hardware(hardware)
    else:
        known, refused = of_device(devices.chosen(device).hardware)
    _warn(refused)
    cases = question.cases(length=length, mode=mode, dtype=dtype, **asked)
    _show(answers([pick(problem_of(case), known) for case in cases], form, explain=explain))


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--fresh", help="Race at lengths between those of FILES, for so long: 5m.")
@click.option(
    "--unseen", type=click.Path(path_type=Path), help="A results file of such a race, done before."
)
@click.option("--out", type=click.Path(path_type=Path), help="Results file of --fresh.")
@format_option(ANSWER_FORMATS)
def regret(
    files: Sequence[Path], fresh: str | None, unseen: Path | None, out: Path | None, form: str
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
    from suite.store import read

    if fresh is not None and unseen is not None:
        raise click.UsageError("give --fresh to race, or --unseen FILE of an earlier race")
    if fresh is None and out is not None:
        raise click.UsageError(f"--out {out} is for --fresh; drop --out")
    read_files = [read(file) for file in files]
    if fresh is not None:
        unseen = _raced_between(read_files, asked_for.seconds("--fresh", fresh), out)
    found = {"Left out": pricing.left_out(read_files)}
    if unseen is not None:
        found["Unseen"] = pricing.unseen(read_files, [read(unseen)])
    _show(render(found, pricing.flips(read_files), form))


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
    whole = plan.of_cases(cases, [file.machine.plan for file in files])
    machine = fingerprint(whole, sys.argv[1:], used)
    if differing := differences(machine, of_files):
        raise click.UsageError(
            f"--fresh: this is {'; '.join(differing)}; race where FILES are from"
        )
    path = out or _default_path(f"unseen-{machine.hardware.key}")
    if path.exists():
        raise click.UsageError(f"--out {path} exists; --unseen {path} prices it")
    _measure(path, machine, used, Cells(), budget_s)
    click.echo(f"Results: {path}", err=True)
    return path


@cli.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("head", type=click.Path(path_type=Path), required=False)
@GATE
@click.option("--across", type=click.Choice(["software"]), multiple=True, help="Compare versions.")
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
    """Say of each cell whether it regressed; exit 1 if one did.

    BASE and HEAD are two results files of runs on the same hardware, software and policy; or BASE
    is one file of pairs that `ab` wrote. Separate runs see large changes only, `ab` small ones too.

    \b
    Example:
      python run_bench.py compare results/before.jsonl results/after.jsonl
    """
    from reports import paired, versus
    from suite.asked import share
    from suite.store import read

    least = share("--gate", gate)
    if head is None:
        _refuse_given(context, {"gate", "across"}, "beside one file, which has its own plan")
    before = read(base)
    after = None if head is None else read(head)
    for file in (before, after):
        _warn(file.warnings if file else [])
    if after is None:
        _judge(paired.of_duel(before), form)
    else:
        _judge(versus.of_files(before, after, least, across), form)


@cli.command()
@click.option("--base", help="A git reference, such as main or HEAD~1.")
@click.option("--base-python", help="Another interpreter, and so another torch.")
@pair_options
def ab(base: str | None, base_python: str | None, form: Any, **asked: Any) -> None:
    """Compare this tree with another version of it, in pairs.

    The other is a git reference or an interpreter. Base and head take turns slice by slice in
    pairs of fresh processes. What looks slower after the first stage is measured again in a second
    before it raises an alarm. Exits 1 for a regression. The suite is this tree's on both sides;
    only variants or interpreter differ.

    \b
    Example:
      python run_bench.py ab --base main --budget 5m
      python run_bench.py ab --base-python /opt/torch-2.12/bin/python --variants flex
    """
    from suite import sides
    from variants.software import software

    if (base is None) == (base_python is None):
        raise click.UsageError("give --base REF or --base-python EXE, one of them")
    if base is not None:
        with sides.of_reference(base, software()) as side:
            _judge(_duel(side, **asked), form)
    elif base_python is not None:
        _judge(_duel(sides.of_python(base_python), **asked), form)


@cli.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--inject", help="Slow one cell of the head's by so much, such as 5%.")
@pair_options
def aa(files: Sequence[Path], inject: str | None, form: Any, **asked: Any) -> None:
    """Compare this tree with itself: can `ab` be trusted here?

    Any alarm is false, unless --inject planted a slowdown. The pairs, with those of earlier FILES,
    then tell the false-alarm rate, the spread by cell and what slowdown is found how often.
    --pairs 0 measures nothing and tells of FILES alone. Exits 1 when something is slower.

    \b
    Example:
      python run_bench.py aa --pairs 24 --out results/aa.jsonl
      python run_bench.py aa --pairs 0 results/aa*.jsonl
      python run_bench.py aa --inject 5% --variants sdpa_key
    """
    from reports import calibrated, calibration
    from reports.verdicts import render
    from suite import sides
    from suite.asked import share
    from suite.store import read
    from variants.software import software

    earlier = [read(file) for file in files]
    for file in earlier:
        _warn(file.warnings)
    calibration.pairs_of(earlier)  # refuses at once what would be refused after measuring
    gate = share("--gate", asked["gate"])
    comparison = None
    if asked["pairs"] == 0 and not earlier:
        raise click.UsageError("--pairs 0 measures nothing: name FILES of earlier pairs")
    if asked["pairs"] == 0 and inject is not None:
        raise click.UsageError("--inject beside --pairs 0: nothing is measured; drop --inject")
    if asked["pairs"] != 0:
        injected = None if inject is None else share("--inject", inject)
        out = asked["out"] = asked["out"] or _default_path("aa")
        base = sides.head(software(), calibration.ITSELF)
        comparison = _duel(base, inject=injected, **asked)
        if form != "json":
            _show(f"{render(comparison, form)}\n")
        earlier.append(read(out))
    pairs = calibration.pairs_of(earlier)
    rates = calibration.calibrate(pairs, gate) if len(pairs) > 1 else None
    _show(calibrated.render(rates, form, comparison))
    if comparison is not None and comparison.regressed:
        raise SystemExit(1)


def _duel(base: Any, *, gate: str, budget: str | None, out: Path | None, **asked: Any) -> Any:
    """Measure base against this tree and return what became of each cell."""
    from reports.duel import between
    from reports.progress import progress
    from suite import asked as asked_for
    from suite import devices, plan
    from suite.fingerprint import fingerprint
    from suite.sweeps import PAIRED_SWEEP

    pairs, inject = asked_for.pairs(asked.pop("pairs")), asked.pop("inject", None)
    least = asked_for.share("--gate", gate)
    budget_s = None if budget is None else asked_for.seconds("--budget", budget)
    used = devices.chosen(asked.pop("device"))
    if inject is not None and used.kind != "cpu":
        raise click.UsageError(f"--inject on {used.name}: it slows the host; give --device cpu")
    asked["sweep"] = asked["sweep"] or (None if asked["models"] else PAIRED_SWEEP)
    of_base = base.variants.values() if asked["variants"] is None else ()
    own = plan.paired(plan.plan(device=used.name, passes=None, **asked), of_base)
    machine = fingerprint(own, sys.argv[1:], used)
    path = out or _default_path(f"pairs-{machine.hardware.key}")
    if path.exists():
        raise click.UsageError(f"--out {path} exists; name a new file")
    with progress() as watch:
        return between(
            base,
            machine,
            used.uuid,
            path,
            watch,
            pairs=pairs,
            budget_s=budget_s,
            gate=least,
            inject=inject,
        )


def _judge(comparison: Any, form: Any) -> None:
    """Show a comparison, and exit 1 for a regression."""
    from reports.verdicts import render

    _show(render(comparison, form))
    if comparison.regressed:
        raise SystemExit(1)


def _show(text: str) -> None:
    """Print to stdout; a reader who has seen enough (`| head`) is no error."""
    try:
        click.echo(text)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)


def _measure(
    path: Path, machine: Machine, device: Device, done: Cells, budget_s: float | None
) -> None:
    from reports.progress import progress
    from suite.nvml import opened
    from suite.run import Run
    from suite.store import Store
    from variants.catalog import CATALOG

    results = Store(path)
    try:
        results.append([machine])
        with opened(device.uuid) as gpu, progress() as watch:
            run = Run(machine.plan, CATALOG, machine.policy, results, watch, gpu, budget_s)
            run.measure(done)
    except KeyboardInterrupt:
        raise Stopped(f"interrupted; run --resume {path} measures the rest") from None
    finally:
        results.close()


def _conclude(path: Path, *, strict: bool) -> None:
    """Show the table and the file's path; with `strict`, exit by what was not measured."""
    from reports.cells import groups
    from reports.table import render
    from suite.store import read

    measured = groups([read(path)])
    _show(f"{render(measured, 'simple')}\n\nResults: {path}")
    statuses = {row.status for group in measured for row in group.rows} - {"measured"}
    if strict and statuses:
        raise SystemExit(1 if "disagrees" in statuses else 3)


def _default_path(key: str) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return Path(__file__).parent.resolve() / "results" / f"{now}-{key}.jsonl"


def _refuse_given(context: click.Context, names: Iterable[str], why: str) -> None:
    """Raise UsageError for an option among `names` that was given."""
    for name in names:
        if context.get_parameter_source(name) not in {
            ParameterSource.DEFAULT,
            ParameterSource.DEFAULT_MAP,
        }:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} {why}; drop {option}")


class Stopped(Exception):  # noqa: N818 - the user's wish
    """The run was interrupted; the text says how to go on."""


def _end(code: int, error: Exception) -> NoReturn:
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    click.echo(f"Error: {' '.join(text.split())}", err=True)
    raise SystemExit(code)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line: 0 fine, 1 lost agreement, 2 bad input, 3 the run failed."""
    from reports.duel import BudgetTooSmall
    from suite.asked import BadRequest
    from suite.devices import NoDevice
    from suite.handle import LaneFault
    from suite.run import RunFailed
    from suite.sides import NoSide
    from suite.store import NotWritten, StoreError

    for stop in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) is signal.SIG_DFL:  # nohup has set the latter to be ignored
            signal.signal(stop, _interrupt)
    try:
        cli.main(standalone_mode=False)
    except NotWritten as error:
        _end(3, error)
    except (
        click.UsageError,
        BadRequest,
        BudgetTooSmall,
        NoDevice,
        NoSide,
        StoreError,
    ) as error:
        _end(2, error)
    except (RunFailed, LaneFault, Stopped, OSError) as error:
        _end(3, error)
    except (click.Abort, KeyboardInterrupt):
        _end(3, Stopped("interrupted"))


if __name__ == "__main__":
    main()
