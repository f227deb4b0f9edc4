"""Compares two runs cell by cell: time, memory, error, and cells that are missing."""

from collections.abc import Sequence

from reports.verdicts.cell_state import canaries_differ, run_states
from reports.verdicts.comparison import (
    Comparison,
    cells_measured_on_both,
    lines_of,
    software_notes,
)
from reports.verdicts.decision import decide_at_once
from reports.verdicts.moderated_t import two_sample_effects
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
    effects = two_sample_effects([(sides[0][c].figures, sides[1][c].figures) for c in cells])
    decisions = dict(zip(cells, decide_at_once(effects, gate), strict=True))
    counts = {cell: min(len(side[cell].figures) for side in sides) for cell in cells}
    return Comparison(
        str(base.path), str(head.path), notes, lines_of(*sides, decisions, counts.__getitem__)
    )
