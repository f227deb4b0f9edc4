"""`ab`: this tree against another version of it, in pairs."""

from typing import Any

import click

from reports.commands.options import pair_options
from reports.commands.verdicts.duel import measure_duel
from reports.commands.verdicts.judge import judge_pairs


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
        judge_pairs(measure_duel(base_side, head=head_side, **options), form)
    elif base is not None:
        with reference_side(base, software()) as side:
            judge_pairs(measure_duel(side, **options), form)
    elif base_python is not None:
        with import_folder() as folder:
            judge_pairs(measure_duel(interpreter_side(base_python, folder), **options), form)
