"""Compares two runs cell by cell: time, memory, error, and cells that are missing.

The runs were measured at two times, and the machine may have been slower at one of them. So where
the canaries of any two passes differ by over 5%, the times of each pass are divided by its canary.
A canary is one turn of 50 ms and moves by itself, which widens the spread of passes. That makes the
test as cautious as two times call for: docs/verdicts.md counts false alarms by rule.
"""

import math
from collections.abc import Mapping, Sequence

from reports.verdicts.cell_state import (
    CANARY_SPREAD,
    canaries_differ,
    canary_move,
    run_states,
)
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
from suite.records.store import Results, StoreError, is_duel_record


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
    normalise = not other and canaries_differ(base, head)
    sides = run_states(base, normalise), run_states(head, normalise)
    notes = [*_canary_notes(base, head, normalise, bool(other)), *software_notes(other)]
    notes += _unit_notes(base, head)
    cells = [
        cell for cell in cells_measured_on_both(*sides) if all(side[cell].figures for side in sides)
    ]
    figures = {cell: (sides[0][cell].figures, sides[1][cell].figures) for cell in cells}
    decisions = decide_runs(figures, gate)
    counts = {cell: min(map(len, figures[cell])) for cell in cells}
    return Comparison(
        str(base.path), str(head.path), notes, lines_of(*sides, decisions, counts.__getitem__)
    )


def _canary_notes(base: Results, head: Results, divided: bool, other_software: bool) -> list[str]:
    """Return the note on what the canaries did between two runs, and what is done about it."""
    move = canary_move(base, head)
    if abs(move) <= math.log(CANARY_SPREAD):
        by_pass = (
            "times are divided by each pass's canary, as those of two passes differ by over 5%: "
            "large changes show, and `ab` sees small ones"
        )
        return [by_pass] if divided else []
    share, direction = abs(math.expm1(move)), "slower" if move > 0 else "faster"
    moved = f"the canary got {share:.1%} {direction} from base to head: the machine's speed changed"
    if other_software:
        return [f"{moved}, or the other software did this. No time is divided by it"]
    if not divided:
        return [f"{moved}. A pass lacks its canary, so no time is divided by it; use `ab`"]
    return [
        f"{moved}. Times are divided by each pass's canary; measure both again, or use `ab`, whose "
        "sides take turns"
    ]


def _unit_notes(base: Results, head: Results) -> list[str]:
    """Return the note that different units measured two runs; none where one is not known."""
    units = [
        sorted({part.header.circumstances.unit for part in run.by_unit()}) for run in (base, head)
    ]
    if units[0] == units[1] or any("" in each for each in units):
        return []
    before, after = (", ".join(each) for each in units)
    return [
        f"other units of this hardware measured base ({before}) and head ({after}): equal devices "
        "differ by some percent, and so may these times; measure both on one, or use `ab`"
    ]


_IDENTICAL = Decision("same", Effect(0.0, 0.0, 0.0), (0.0, 0.0))

Logs = tuple[float, ...]
"""The natural logarithms of a cell's times in ms, one a pass."""


def decide_runs(figures: Mapping[Cell, tuple[Logs, Logs]], gate: float) -> dict[Cell, Decision]:
    """Return each cell's decision, from its passes in base and head.

    Identical times are the same without a test, which could not tell where they spread widely.
    """
    differing = {cell: sides for cell, sides in figures.items() if sides[0] != sides[1]}
    verdicts = decide_at_once(two_sample_effects(list(differing.values())), gate)
    return dict.fromkeys(figures, _IDENTICAL) | dict(zip(differing, verdicts, strict=True))
