"""`best`: which variant to use, from selections."""

from typing import Any

import click

from reports.commands.console import show, warn
from reports.commands.options import ANSWER_FORMATS, format_option, question_options


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
    it, or else from other software, another shape or a device of the same architecture. Each answer
    says which. Where this device did not measure the problem, it has the command that does.

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
    device_name, models = used and used.name, question["models"]
    show(answers_text(answers, form, device_name, screen(), models=models, explain=explain))
