"""A duel: pairs planned beforehand, measured in two stages, and the verdict at their end."""

import time
from contextlib import ExitStack
from pathlib import Path

from reports.comparison import Comparison
from reports.decide import second_stage
from reports.paired import of_duel, suspected
from reports.standing import of_pairs
from suite.asked import LEAST_PAIRS
from suite.compile_cache import compile_cache
from suite.machine import Circumstances
from suite.nvml import opened
from suite.pairs import Duel, Injection
from suite.priming import prime
from suite.record import SIDES, Machine, Versus
from suite.run import RunFailed
from suite.sides import Side, head
from suite.store import Store, read
from suite.watch import Watch

MOST_PAIRS = 16
KEPT_BACK = 0.05


class BudgetTooSmall(Exception):  # noqa: N818 - the user's mistake, not the program's
    """A budget that does not hold the least number of pairs; the text says what would."""


def between(
    base: Side,
    machine: Machine,
    gpu_uuid: str | None,
    path: Path,
    watch: Watch,
    *,
    pairs: int,
    budget_s: float | None,
    gate: float,
    inject: float | None = None,
) -> Comparison:
    """Let `base` and this tree fight over a machine's plan; the pairs go to the file `path`.

    `inject` slows the first cell of this tree's side by so large a share. Raises as `fight`.
    """
    store = Store(path)
    plan = machine.plan
    with ExitStack() as stack:
        stack.callback(store.close)
        store.append([machine])
        duel = Duel(
            plan=plan,
            base=base,
            head=head(machine.software, this_tree(machine.circumstances)),
            policy=machine.policy,
            caches={side: stack.enter_context(compile_cache()) for side in SIDES},
            store=store,
            watch=watch,
            gpu=stack.enter_context(opened(gpu_uuid)),
            injection=Injection((plan.cases[0], plan.variants[0]), inject) if inject else None,
        )
        return fight(duel, path, pairs=pairs, budget_s=budget_s, gate=gate)


def fight(duel: Duel, path: Path, *, pairs: int, budget_s: float | None, gate: float) -> Comparison:
    """Prime both sides, measure the first stage, then the suspects' second, and say what is.

    The first stage has `pairs`, or with a budget (in seconds) as many as a rehearsed pair says
    that it holds if every cell came to the second; fixed before the first is measured.

    Raises BudgetTooSmall, and RunFailed when a side's lanes can't be started or base has no cell
    that works.
    """
    began = time.monotonic()
    cells = prime(duel)
    if not cells:
        _refuse_a_base_without_cells(path)
    if budget_s is not None:
        rehearsed_from = time.monotonic()
        duel.take(cells, [0], None)
        now = time.monotonic()
        pairs = planned(budget_s - (now - began), now - rehearsed_from)
    duel.store.append([_versus(duel, pairs, gate)])
    duel.watch.begin(pairs * len(cells))
    duel.take(cells, range(1, pairs + 1), "first")
    suspects = suspected(read(path), gate)
    if suspects:
        again = second_stage(pairs, len(suspects), len(cells))
        duel.watch.begin(again * len(suspects))
        duel.take(suspects, range(pairs + 1, pairs + again + 1), "second")
    return of_duel(read(path))


def _refuse_a_base_without_cells(path: Path) -> None:
    """Raise RunFailed where nothing works in base: then no regression could be seen either."""
    standings = of_pairs(read(path), "base")
    if standings and all(one.status != "measured" for one in standings.values()):
        (_, name), one = next(iter(standings.items()))
        raise RunFailed(
            f"nothing to compare with: no cell works in base; {name} {one.status}: {one.reason}"
        )


def this_tree(code: Circumstances) -> str:
    """Return what the head is in words: its commit, and whether there are changes beside it."""
    changed = ", with uncommitted changes" if code.uncommitted else ""
    return f"this tree ({code.commit[:12]}{changed})"


def planned(left_s: float, pair_s: float) -> int:
    """Return how many pairs the first stage has in the time that is left. Raises BudgetTooSmall."""
    pairs = int((1 - KEPT_BACK) * left_s / (2 * pair_s))
    if pairs < LEAST_PAIRS:
        missing_s = 2 * LEAST_PAIRS * pair_s / (1 - KEPT_BACK) - left_s
        raise BudgetTooSmall(
            f"--budget: a pair takes {pair_s:.0f} s here and {LEAST_PAIRS} a stage are the "
            f"least; give {missing_s:.0f} s more, or fewer lengths or variants"
        )
    return min(pairs, MOST_PAIRS)


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
