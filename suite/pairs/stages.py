"""The stages of a comparison: warm-up, a first stage of pairs, and a second for the suspects.

How many pairs a stage has is fixed before the first of them is measured.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from suite.cases.parse import LEAST_PAIRS
from suite.cases.plan import Cell, Plan
from suite.clocks.cpu_clock import SLICE_NS
from suite.conditions.nvml import open_gpu
from suite.conditions.policy import Circumstances
from suite.failures import BadRequest, RunFailed
from suite.lanes.compile_cache import compile_cache
from suite.pairs.duel import ROUNDS, VISITS, Duel, Injection
from suite.pairs.sides import Side
from suite.pairs.warm_up import warm_up
from suite.race.watch import Watch
from suite.records.record import SIDES, RunHeader, Versus
from suite.records.store import Store

MOST_PAIRS = 16
RESERVE = 0.05

START_S = 0.5
"""No lane starts faster: it imports torch."""

FEW_SUSPECTS = 1 / 3
"""Up to this share of the cells the second stage has twice the pairs of the first: it then still
takes no longer, though lanes have to start for every pair."""

FindSuspects = Callable[[], list[Cell]]
"""() -> the cells of the file that the first stage flags for a second."""


class BudgetTooSmall(BadRequest):
    """A budget that does not hold the least number of pairs; the text says what would."""


def measure_pairs(
    base: Side,
    head: Side,
    header: RunHeader,
    gpu_uuid: str | None,
    path: Path,
    watch: Watch,
    *,
    pairs: int,
    budget_s: float | None,
    gate: float,
    find_suspects: FindSuspects,
    inject: float | None = None,
) -> None:
    """Measure `base` against `head` over a header's plan; the pairs go to the file `path`.

    `inject` slows the first cell of the head by so large a share. Raises as `take_stages`;
    a budget that is too small leaves no file.
    """
    store = Store(path)
    plan = header.plan
    with ExitStack() as stack:
        stack.callback(store.close)
        store.append([header])
        duel = Duel(
            plan=plan if budget_s is None else with_step_limit(plan, budget_s),
            base=base,
            head=head,
            policy=header.policy,
            caches={side: stack.enter_context(compile_cache()) for side in SIDES},
            store=store,
            watch=watch,
            gpu=stack.enter_context(open_gpu(gpu_uuid)),
            injection=Injection((plan.cases[0], plan.variants[0]), inject) if inject else None,
        )
        try:
            take_stages(
                duel, pairs=pairs, budget_s=budget_s, gate=gate, find_suspects=find_suspects
            )
        except BudgetTooSmall:
            path.unlink()
            raise


def with_step_limit(plan: Plan, budget_s: float) -> Plan:
    """Return a plan whose steps take a third of the budget at most, so that a hang leaves some."""
    return msgspec.structs.replace(plan, step_timeout_s=min(plan.step_timeout_s, budget_s / 3))


def refuse_small(budget_s: float, plan: Plan) -> None:
    """Raise BudgetTooSmall if no machine could measure a plan's fewest pairs in the budget.

    They are a rehearsed pair and two stages, and counted are the starts of lanes and the turns.
    """
    cells = len(plan.cases) * len(plan.variants)
    turns_s = cells * len(SIDES) * VISITS * ROUNDS * SLICE_NS / 1e9
    least_s = (1 + 2 * LEAST_PAIRS) * (START_S * len(plan.variants) + turns_s)
    if budget_s < least_s:
        raise BudgetTooSmall(
            f"--budget {budget_s:g}s: {cells} cells in {LEAST_PAIRS} pairs a stage, the fewest, "
            f"take over {least_s:.0f} s anywhere; give more, or fewer lengths or variants"
        )


def take_stages(
    duel: Duel, *, pairs: int, budget_s: float | None, gate: float, find_suspects: FindSuspects
) -> None:
    """Warm both sides up, measure the first stage, then the second of the suspects.

    The first stage has `pairs`. With a budget (in seconds) it has as many as a rehearsed pair says
    that the budget holds if every cell came to the second stage.

    Raises BudgetTooSmall, and RunFailed when a side's lanes can't be started or base has no cell
    that works, because then no regression could be seen either.
    """
    began = time.monotonic()
    warm = warm_up(duel)
    if not warm.cells and warm.base_fault is not None:
        raise RunFailed(f"nothing to compare with: no cell works in base; {warm.base_fault}")
    if budget_s is not None:
        rehearsed_from = time.monotonic()
        duel.take(warm.cells, [0], None)
        now = time.monotonic()
        pairs = pairs_within(budget_s - (now - began), now - rehearsed_from)
    duel.store.append([_versus(duel, pairs, gate)])
    duel.watch.begin(pairs * len(warm.cells))
    duel.take(warm.cells, range(1, pairs + 1), "first")
    suspects = find_suspects()
    if suspects:
        again = second_stage(pairs, len(suspects), len(warm.cells))
        duel.watch.begin(again * len(suspects))
        duel.take(suspects, range(pairs + 1, pairs + again + 1), "second")


def pairs_within(left_s: float, pair_s: float) -> int:
    """Return how many pairs the first stage has in `left_s`, if one takes `pair_s`.

    Raises BudgetTooSmall.
    """
    pairs = int((1 - RESERVE) * left_s / (2 * pair_s))
    if pairs < LEAST_PAIRS:
        missing_s = 2 * LEAST_PAIRS * pair_s / (1 - RESERVE) - left_s
        raise BudgetTooSmall(
            f"--budget: a pair takes {pair_s:.0f} s here and {LEAST_PAIRS} a stage are the "
            f"least; give {missing_s:.0f} s more, or fewer lengths or variants"
        )
    return min(pairs, MOST_PAIRS)


def second_stage(pairs: int, suspects: int, cells: int) -> int:
    """Return how many pairs measure the suspects again, after a first stage of `pairs`."""
    return 2 * pairs if suspects <= FEW_SUSPECTS * cells else pairs


def this_tree(code: Circumstances) -> str:
    """Return what the head is in words: its commit, and whether there are changes beside it."""
    changed = ", with uncommitted changes" if code.uncommitted else ""
    return f"this tree ({code.commit[:12]}{changed})"


def _versus(duel: Duel, pairs: int, gate: float) -> Versus:
    injection = duel.injection
    return Versus(
        base=duel.base.what,
        head=duel.head.what,
        base_software=duel.base.software,
        head_software=duel.head.software,
        pairs=(pairs, second_stage(pairs, 1, len(duel.plan.cases) * len(duel.plan.variants))),
        gate=gate,
        injected={f"{injection.cell[1]} {injection.cell[0].id}": injection.share}
        if injection
        else {},
    )
