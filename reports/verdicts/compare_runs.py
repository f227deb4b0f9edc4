"""Compares two runs cell by cell: time, memory, error, and cells that are missing."""

from collections.abc import Mapping, Sequence

from reports.verdicts.cell_state import CellState, canaries_differ, run_states
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
    notes = ["times divided by each pass's canary, which moved by over 5%"] if normalise else []
    notes += software_notes(other)
    cells = [
        cell for cell in cells_measured_on_both(*sides) if all(side[cell].figures for side in sides)
    ]
    decisions = _decisions({cell: (sides[0][cell], sides[1][cell]) for cell in cells}, gate)
    counts = {cell: min(len(side[cell].figures) for side in sides) for cell in cells}
    return Comparison(
        str(base.path), str(head.path), notes, lines_of(*sides, decisions, counts.__getitem__)
    )


_IDENTICAL = Decision("same", Effect(0.0, 0.0, 0.0), (0.0, 0.0))


def _decisions(
    cells: Mapping[Cell, tuple[CellState, CellState]], gate: float
) -> dict[Cell, Decision]:
    """Return each cell's decision, from its states in base and head.

    Identical times are the same without a test, which could not tell where they spread widely.
    """
    differing = {
        cell: (base.figures, head.figures)
        for cell, (base, head) in cells.items()
        if base.figures != head.figures
    }
    verdicts = decide_at_once(two_sample_effects(list(differing.values())), gate)
    return dict.fromkeys(cells, _IDENTICAL) | dict(zip(differing, verdicts, strict=True))
