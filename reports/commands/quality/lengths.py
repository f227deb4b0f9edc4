"""`lengths`: the command that trains short, tests long, and shows quality beside cost."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.commands.console import (
    default_path,
    read_lengths_once,
    read_once,
    refuse_existing,
    refuse_options,
    show,
)
from reports.commands.options import DEVICE, format_option
from reports.commands.run import Stopped

if TYPE_CHECKING:
    from reports.quality.costs import AttentionCost
    from suite.conditions.device import Device
    from suite.quality.design import Design
    from suite.quality.results import LengthsResults

AT_A_TIME = 2
FORMATS = ("simple", "github", "json")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="ALiBi, RoPE, YaRN and sinusoidal, one seed.")
@click.option(
    "--long", "is_long", is_flag=True, help="Train ten times longer: 3.5 hours on two idle cores."
)
@click.option("--text", type=click.Path(path_type=Path), help="Folder of text files to learn.")
@DEVICE
@click.option("--out", type=click.Path(path_type=Path), help="File to write.")
@click.option("--resume", type=click.Path(path_type=Path), help="File to complete.")
@click.option(
    "--costs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A results file of `run`, for what attention costs; may be given again.",
)
@format_option(FORMATS)
@click.pass_context
def lengths(
    context: click.Context,
    /,
    files: Sequence[Path],
    quick: bool,
    is_long: bool,
    text: Path | None,
    device: str | None,
    out: Path | None,
    resume: Path | None,
    costs: Sequence[Path],
    form: str,
) -> None:
    """Train small models short and test them long, by position method.

    ALiBi, RoPE and its scalings, sinusoidal, T5's bias, none, and mistakes in ALiBi as controls,
    with three seeds each. Takes 25 minutes on two idle cores, --quick 6, --long 3.5 hours. With
    FILES it trains nothing and shows what is in them. --costs puts the time of each method's
    attention beside.

    \b
    Example:
      python run_bench.py lengths --quick
      python run_bench.py lengths --resume results/FILE.jsonl
      python run_bench.py lengths results/LENGTHS.jsonl --costs results/RACE.jsonl
    """
    options = {"quick", "is_long", "text", "device", "out", "resume"}
    if form == "json" and (costs or len(files) > 1):
        raise click.UsageError("--format json is of one file, without --costs")
    if files:
        refuse_options(context, options, "beside FILES: they are shown and nothing is trained")
        results = read_lengths_once(files)
        _show(results, form, _costs(costs, results[0].header.design))
        return
    if resume is not None:
        refuse_options(context, options - {"resume"}, "beside --resume: the file has its design")
        design, used = _of_file(resume)
        path = resume
    else:
        design, used = _of_options(quick, is_long, device)
        path = out or default_path(f"lengths-{design.name}-{used.hardware.key}")
        refuse_existing(path, f"--resume {path} completes it")
    paid = _costs(costs, design)
    _measure(path, design, used, text)
    _show(read_lengths_once([path]), form, paid)
    click.echo(f"Results: {path}", err=True)


def _of_options(quick: bool, is_long: bool, device: str | None) -> "tuple[Design, Device]":
    from suite.conditions.device import device_for
    from suite.quality.design import DEFAULT, LONG, QUICK

    if quick and is_long:
        raise click.UsageError("--quick beside --long; drop one")
    return QUICK if quick else LONG if is_long else DEFAULT, device_for(device)


def _of_file(path: Path) -> "tuple[Design, Device]":
    from suite.conditions.device import device_for
    from suite.quality.results import read

    header = read(path).header
    return header.design, device_for(header.device)


def _measure(path: Path, design: "Design", device: "Device", text: Path | None) -> None:
    """Train and test what the file at `path` lacks.

    Raises Stopped if the user interrupts; the file then has the results so far.
    """
    from reports.commands.quality.progress import LengthsProgress, face
    from suite.quality.experiment import prepare
    from suite.quality.message import StepDone
    from suite.quality.processes import do_all
    from suite.records.store import Store

    experiment = prepare(
        path, design, device, text, sys.argv[1:], lambda line: click.echo(line, err=True)
    )
    at_a_time = min(AT_A_TIME, device.hardware.cores) if device.kind == "cpu" else 1
    results = Store(path)
    try:
        results.append([experiment.header])
        with face() as shown:
            bytes_per_token = experiment.header.text.bytes_per_token
            progress = LengthsProgress(shown, experiment.tasks, bytes_per_token)
            for news in do_all(experiment.tasks, at_a_time):
                if news.message is not None and not isinstance(news.message, StepDone):
                    results.append([news.message])
                progress.hear(news)
    except KeyboardInterrupt:
        raise Stopped(f"interrupted; lengths --resume {path} does the rest") from None
    finally:
        results.close()


def _costs(paths: Sequence[Path], design: "Design") -> "list[AttentionCost] | None":
    """Return what races say of each method's attention; None where none is named."""
    from reports.quality.costs import costs_of

    return costs_of(read_once(paths), design.lengths) if paths else None


def _show(
    files: "Sequence[LengthsResults]", form: str, costs: "Sequence[AttentionCost] | None"
) -> None:
    """Show the tables of files, and under them what the methods' attention costs."""
    from reports.quality.costs import cost_table
    from reports.quality.table import render

    parts = [render(file, form) for file in files]
    if costs is not None:
        parts.append(cost_table(costs, form))
    show("\n\n".join(parts))
