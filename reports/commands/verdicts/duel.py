"""What `ab` and `aa` share: a plan measured in pairs into a file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reports.commands.console import default_path, refuse_existing, warn_of_troubles
from suite.conditions.device import Device

if TYPE_CHECKING:
    from suite.cases.plan import Plan


def measure_duel(
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
            find_suspects=lambda: suspected_cells(read(path), least),
            inject=inject,
        )
    return read(path)


def _paired_plan(base: Any, device: Device, grid: dict[str, Any]) -> "Plan":
    """Return the plan of the grid options, by default of the sweep for pairs.

    Without --variants it also has variants of `base` that are gone from this tree's catalog. Raises
    BadRequest for options that make no plan.
    """
    from suite.cases.plan import pairs_plan
    from suite.cases.request import Request
    from suite.cases.sweeps import PAIRED_SWEEP

    catalog = base.variants.values() if grid["variants"] is None else ()
    return pairs_plan(Request(**grid).plan(device.name, device.half, PAIRED_SWEEP), catalog)
