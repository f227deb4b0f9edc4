"""`fleet`: a plan on the nodes of a Ray cluster, then one table, and a selection a hardware key."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reports.commands.choosing.choose import choose_and_write
from reports.commands.console import default_path, read_once, refuse_options, show, warn
from reports.commands.many.all_gpus import say
from reports.commands.many.option_words import option_words
from reports.commands.options import grid_options
from suite.failures import BadRequest, RunFailed

if TYPE_CHECKING:
    from suite.fleet.ray.attempts import Work
    from suite.fleet.ray.jobs import FleetPlan, Job
    from suite.records.store import Results

_OF_FLEET = {
    "address",
    "types",
    "wait",
    "split",
    "wheels",
    "page",
    "out",
    "resume",
    "device",
    "budget",
}


@click.command()
@click.option("--address", default="auto", show_default=True, help="HOST:PORT of the cluster.")
@click.option("--types", help="Ray's accelerator types, and CPU for nodes without: H100,CPU.")
@click.option("--wait", default="60s", show_default=True, help="How long to wait for a type.")
@click.option("--split", is_flag=True, help="Split the cases over the nodes of a hardware key.")
@click.option("--wheels", help="Folder of wheels on nodes whose Python lacks our packages.")
@click.option("--passes", type=int, help="Passes in fresh processes; intervals need 3.")
@click.option("--budget", help="Time for each node's run, such as 8m.")
@click.option("--page", is_flag=True, help="Write a page of charts too: FOLDER/page/.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--resume", type=click.Path(path_type=Path), help="Folder of a fleet to complete.")
@grid_options
@click.pass_context
def fleet(
    context: click.Context,
    /,
    address: str,
    types: str | None,
    wait: str,
    split: bool,
    wheels: str | None,
    budget: str | None,
    page: bool,
    out: Path | None,
    resume: Path | None,
    **grid: Any,
) -> None:
    """Measure on nodes of a Ray cluster, one of each type.

    A node measures all of its GPUs, or its CPU: it does the `run` of the grid options in processes
    of its own, without Ray, and holds all its CPUs and GPUs alone. Results come as files while they
    are measured, a folder each hardware key. A lost node's run goes on at another of its type.
    Needs the extra `fleet`.

    \b
    Example:
      python run_bench.py fleet --types H100,CPU --lengths 2048 --passes 3
      python run_bench.py fleet --resume results/FOLDER
    """
    from reports.web_page.write_page import check_extra, check_folder
    from suite.cases import parse
    from suite.fleet.ray.cluster import connect
    from suite.fleet.ray.drive import Orders, drive
    from suite.fleet.ray.jobs import begin_folder, read_plan
    from suite.fleet.ray.shipment import shipment

    wait_s = parse.seconds("--wait", wait)
    if budget is not None:
        parse.seconds("--budget", budget)
    if resume is None:
        folder = out or default_path("fleet").with_suffix("")
        plan = _plan(context, types, grid, splits=split)
    else:
        stay = {"resume", "address", "wait", "wheels", "page", "budget"}
        refuse_options(context, set(context.params) - stay, "beside --resume, which has its plan")
        folder, plan = resume, read_plan(resume)
    if page:
        check_extra()
        check_folder(folder / "page", "--page")
    with shipment() as code, connect(address, code) as cluster:
        if resume is None:
            begin_folder(folder, plan)
        work = drive(Orders(plan, folder, wait_s, wheels, budget), cluster, say)
    _conclude(folder, work, page=page)


def _plan(
    context: click.Context, types: str | None, grid: dict[str, Any], *, splits: bool
) -> "FleetPlan":
    """Return a job for each type, which is yet to be split if `splits`. Raises BadRequest."""
    from suite.cases import parse
    from suite.fleet.ray.jobs import FleetPlan, Job

    if types is None:
        raise click.UsageError("give --types, such as H100,A100,CPU; or --resume FOLDER")
    if grid.pop("device") is not None:
        raise click.UsageError("--device: the type of a node decides; drop --device")
    jobs = []
    for name in parse.words("--types", types):
        cases = _cases(Job(name), grid)
        jobs.append(Job(name, cases_to_split=cases if splits else None))
    return FleetPlan(tuple(option_words(context, _OF_FLEET)), tuple(jobs))


def _cases(job: "Job", grid: Mapping[str, Any]) -> int:
    """Return how many cases a job has. Raises BadRequest for what nodes can't have: your files."""
    from suite.cases.request import Request

    plan = Request(**grid).plan(job.kind)
    if plan.kernels or any(case.recording for case in plan.cases):
        raise BadRequest("fleet ships this program alone: kernels and recordings of yours can't go")
    if ".json" in (grid["models"] or ""):
        raise BadRequest(f"--models {grid['models']}: fleet takes names, your files stay here")
    return len(plan.cases)


def _conclude(folder: Path, work: "Work", *, page: bool) -> None:
    """Show what was measured, with a page of it if `page`, and say what was not.

    Raises RunFailed if a job was not measured in full.
    """
    from reports.web_page.write_page import write_page

    warn(f"{name}: {why}" for name, why in work.failures.items())
    files = show_results(folder)
    if page:
        show(f"Page: {write_page(files, folder / 'page')[0]}")
    warn(
        f"{name}: unfinished, cells left: {cells}; fleet --resume {folder} measures them"
        for name, cells in work.unfinished.items()
    )
    if work.failures:
        names = ", ".join(work.failures)
        raise RunFailed(f"{names}: not measured in full; --resume {folder} goes on")


def show_results(folder: Path) -> list["Results"]:
    """Show one table across hardware and how siblings differ, and choose for each hardware key.

    Returns the results in the fleet's folder. Raises RunFailed where there are none.
    """
    from reports.choosing.candidates import Rules
    from reports.pages.hardware_table import hardware_table
    from reports.pages.siblings import siblings_text
    from reports.text.screen import screen
    from suite.records.record import Time
    from variants.selection.files import user_folder

    paths = sorted([*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl")])
    if not paths:
        raise RunFailed("nothing was measured; the lines above say why")
    files = read_once(paths)
    width = screen().width
    texts = [hardware_table(files, width), siblings_text(files, width), f"Results: {folder}"]
    show("\n\n".join(text for text in texts if text))
    by_key: dict[str, list[Results]] = {}
    for file in files:
        if any(isinstance(record, Time) for record in file.records):
            by_key.setdefault(file.header.hardware.key, []).append(file)
    for key, members in by_key.items():
        show(f"\nFor {key}:\n")
        try:
            choose_and_write(members, Rules(), user_folder())
        except BadRequest as error:
            warn([f"{key}: no selection: {error}"])
    return files
