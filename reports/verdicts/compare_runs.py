"""What became of each cell from base to head: its time, memory and error, and if it is there."""

from collections.abc import Sequence

from reports.verdicts.cell_state import canaries_differ, run_states
from reports.verdicts.comparison import (
    Comparison,
    lines_of,
    measured_on_both,
    software_notes,
)
from reports.verdicts.decision import decide_at_once
from reports.verdicts.moderated_t import two_sample_effects
from suite.records.fingerprint import differences, software_differences
from suite.records.store import Results, StoreError, is_of_pairs


def compare_runs(
    base: Results, head: Results, gate: float, across: Sequence[str] = ()
) -> Comparison:
    """Compare two runs; `across` may hold "software", to compare torch versions knowingly.

    Raises StoreError when they can't be compared, naming the fields.
    """
    for run in (base, head):
        if any(is_of_pairs(record) for record in run.records):
            raise StoreError(f"{run.path}: a file of pairs; compare it alone, it has both sides")
    differing = differences(head.header, base.header)
    other = software_differences(head.header.software, base.header.software)
    refused = [one for one in differing if one not in other or "software" not in across]
    if refused:
        hint = "; --across software compares them" if refused == other else ""
        raise StoreError(f"{head.path} against {base.path}: {'; '.join(refused)}{hint}")
    normalise = not other and canaries_differ(base, head)
    sides = run_states(base, normalise), run_states(head, normalise)
    notes = ["times divided by each pass's canary, which moved by over 5%"] if normalise else []
    notes += software_notes(other)
    cells = [cell for cell in measured_on_both(*sides) if all(side[cell].figures for side in sides)]
    effects = two_sample_effects([(sides[0][c].figures, sides[1][c].figures) for c in cells])
    decisions = dict(zip(cells, decide_at_once(effects, gate), strict=True))
    counts = {cell: min(len(side[cell].figures) for side in sides) for cell in cells}
    return Comparison(
        str(base.path), str(head.path), notes, lines_of(*sides, decisions, counts.__getitem__)
    )
