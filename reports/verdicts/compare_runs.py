"""Compares two runs cell by cell: time, memory, error, and cells that are missing.

No time is divided by a canary. A canary is one turn of 50 ms and moves by itself, so that division
adds its noise to every time. Where the canaries of the two runs differ by over CANARY_LIMIT, the
machine itself may have got slower or faster between them. How much of that a cell shares is not
known: something between nothing and all. So a verdict then has to hold at both ends, as measured
and with the canary's move taken off; else the cell is inconclusive.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

from reports.verdicts.cell_state import run_states
from reports.verdicts.comparison import (
    Comparison,
    cells_measured_on_both,
    lines_of,
    software_notes,
)
from reports.verdicts.decision import Decision, decide_at_once
from reports.verdicts.moderated_t import Effect, two_sample_effects
from suite.cases.plan import Cell
from suite.records.fingerprint import differences, software_differences
from suite.records.record import Canary
from suite.records.store import Results, StoreError, is_duel_record

CANARY_LIMIT = 0.05
"""The share by which two runs' canaries may differ, each the mean over its passes. docs/verdicts.md
has what canaries of one machine do, and what this limit costs."""

Logs = Sequence[float]
"""The natural logarithms of times in ms, one a pass."""


def compare_runs(
    base: Results, head: Results, gate: float, across: Sequence[str] = ()
) -> Comparison:
    """Compare two runs of the same hardware, software and policy.

    `gate` is a share: 0.01 is 1%. With "software" in `across`, versions of torch and other packages
    may differ. Raises StoreError for a file of pairs or of several commits, and for runs that can't
    be compared, naming the fields that differ.
    """
    for run in (base, head):
        if any(is_duel_record(record) for record in run.records):
            raise StoreError(f"{run.path}: a file of pairs; compare it alone, it has both sides")
        if len(parts := run.by_code()) > 1:
            codes = " and ".join(part.header.circumstances.code for part in parts)
            raise StoreError(f"{run.path}: measured by {codes}; measure it again by one of them")
    differing = differences(head.header, base.header)
    other = software_differences(head.header.software, base.header.software)
    refusals = [line for line in differing if line not in other or "software" not in across]
    if refusals:
        hint = "; --across software compares them" if refusals == other else ""
        raise StoreError(f"{head.path} against {base.path}: {'; '.join(refusals)}{hint}")
    move = canary_move(base, head)
    sides = run_states(base), run_states(head)
    cells = [
        cell for cell in cells_measured_on_both(*sides) if all(side[cell].figures for side in sides)
    ]
    figures = {cell: (sides[0][cell].figures, sides[1][cell].figures) for cell in cells}
    # The canary is torch's own product: with another torch its move may be the software's.
    decisions = decide_runs(figures, gate, 0.0 if other else move)
    counts = {cell: min(map(len, figures[cell])) for cell in cells}
    return Comparison(
        str(base.path),
        str(head.path),
        [*_canary_notes(move, bool(other)), *software_notes(other)],
        lines_of(*sides, decisions, counts.__getitem__),
    )


def canary_move(base: Results, head: Results) -> float:
    """Return log(head / base) of two runs' canaries, each the mean over the run's passes.

    0 where a run has no canary.
    """
    levels = [
        [math.log(record.median_ms) for record in run.records if isinstance(record, Canary)]
        for run in (base, head)
    ]
    if not all(levels):
        return 0.0
    before, after = map(statistics.fmean, levels)
    return after - before


def decide_runs(
    figures: Mapping[Cell, tuple[Logs, Logs]], gate: float, canary: float = 0.0
) -> dict[Cell, Decision]:
    """Return each cell's decision, from its passes in base and head.

    `canary` is the canary's own log(head / base), which counts if it is over CANARY_LIMIT.
    Identical times are the same without a test, which could not tell where they spread widely.
    """
    differing = {cell: sides for cell, sides in figures.items() if sides[0] != sides[1]}
    effects = two_sample_effects(list(differing.values()))
    decisions = decide_at_once(effects, gate)
    if _is_over_limit(canary):
        rest = [effect._replace(estimate=effect.estimate - canary) for effect in effects]
        both = zip(decisions, decide_at_once(rest, gate), strict=True)
        decisions = [_at_both_ends(*pair) for pair in both]
    return dict.fromkeys(figures, _IDENTICAL) | dict(zip(differing, decisions, strict=True))


_IDENTICAL = Decision("same", Effect(0.0, 0.0, 0.0), (0.0, 0.0))


def _is_over_limit(move: float) -> bool:
    return abs(move) > math.log1p(CANARY_LIMIT)


def _at_both_ends(measured: Decision, rest: Decision) -> Decision:
    """Return what was decided as measured, if the same is so without the canary's move."""
    if measured.verdict in {"inconclusive", rest.verdict}:
        return measured
    reason = f"{measured.verdict} as measured, {rest.verdict} with the canary's move taken off"
    return measured._replace(verdict="inconclusive", reason=reason)


def _canary_notes(move: float, other_software: bool) -> list[str]:
    """Return the note that the canary moved between the runs; none if it did not."""
    if not _is_over_limit(move):
        return []
    share, direction = abs(math.expm1(move)), "slower" if move > 0 else "faster"
    moved = (
        f"the canary got {share:.1%} {direction} from base to head, over the limit of "
        f"{CANARY_LIMIT:.0%}: the machine's speed changed"
    )
    if other_software:
        return [f"{moved}, or the other software did this"]
    return [
        f"{moved}. A verdict has to hold with that taken off too; measure both again, or use `ab`, "
        "whose sides take turns"
    ]
