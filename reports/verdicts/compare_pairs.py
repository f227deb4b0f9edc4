"""The verdicts of a file of pairs, and the cells that its first stage suspects."""

import math
import statistics
from collections.abc import Mapping, Sequence

from reports.verdicts.cell_state import side_states
from reports.verdicts.comparison import Comparison, cells_measured_on_both, lines_of, software_notes
from reports.verdicts.decision import decide, suspects
from reports.verdicts.moderated_t import paired_effects
from suite.cases.plan import Cell
from suite.pairs.stages import second_stage
from suite.records.fingerprint import software_differences
from suite.records.record import Fault, Pair, Stage, Versus
from suite.records.store import Results, StoreError, is_duel_record


def compare_pairs(results: Results) -> Comparison:
    """Return the comparison of a file of pairs. Raises StoreError for a file without pairs."""
    versus = next((record for record in results.records if isinstance(record, Versus)), None)
    if versus is None and any(is_duel_record(record) for record in results.records):
        raise StoreError(f"{results.path}: cut short before its first pair; measure again")
    if versus is None:
        raise StoreError(f"{results.path}: a run and no file of pairs; compare it with another run")
    sides = side_states(results, "base"), side_states(results, "head")
    first, second = _first_stage(results), figures(results, "second")
    cells = list(first)
    fresh = {place: second[cell] for place, cell in enumerate(cells) if cell in second}
    verdicts = decide([first[cell] for cell in cells], fresh, versus.gate)
    decisions = dict(zip(cells, verdicts, strict=True))
    counts = {cell: len(first[cell]) for cell in cells}
    for cell in decisions.keys() & second.keys():
        confirmed = decisions[cell].verdict in {"slower", "faster"}
        counts[cell] = len(second[cell]) + (0 if confirmed else counts[cell])
    notes = _notes(results, versus, first, fresh)
    return Comparison(
        versus.base, versus.head, notes, lines_of(*sides, decisions, counts.__getitem__)
    )


def _notes(
    results: Results,
    versus: Versus,
    first: Mapping[Cell, Sequence[float]],
    second: Mapping[int, Sequence[float]],
) -> list[str]:
    """Return notes on a file of pairs: injected slowdowns, other software, stages cut short."""
    notes = [f"{name} slowed by {100 * by:g}% on purpose" for name, by in versus.injected.items()]
    notes += software_notes(software_differences(versus.head_software, versus.base_software))
    figures_by_cell, planned = figures(results, "first"), versus.pairs[0]
    cells = cells_measured_on_both(side_states(results, "base"), side_states(results, "head"))
    shortest = min((len(figures_by_cell.get(cell, ())) for cell in cells), default=planned)
    if shortest < planned:
        notes.append(f"cut short: {shortest} of {planned} pairs of the first stage are whole")
        return notes
    flagged = suspects(paired_effects(list(first.values())), versus.gate)
    if not any(isinstance(record, Fault) and record.pass_number for record in results.records):
        planned = second_stage(planned, len(flagged), len(figures_by_cell))
    shortest = min((len(second.get(place, ())) for place in flagged), default=planned)
    if shortest < planned:
        notes.append(f"cut short: {shortest} of {planned} pairs of the second stage are whole")
    return notes


def suspected_cells(results: Results, gate: float) -> list[Cell]:
    """Return the cells that the first stage of a file of pairs flags for the second stage.

    `gate` is a share: 0.01 is 1%.
    """
    first = _first_stage(results)
    cells = list(first)
    return [cells[place] for place in suspects(paired_effects(list(first.values())), gate)]


def figures(results: Results, stage: Stage) -> dict[Cell, list[float]]:
    """Return each cell's log(head / base), one figure a pair."""
    figures_by_cell: dict[Cell, list[float]] = {}
    for record in results.records:
        if isinstance(record, Pair) and record.stage == stage:
            cell = record.case, record.variant
            figures_by_cell.setdefault(cell, []).append(figure(record))
    return figures_by_cell


def figure(pair: Pair) -> float:
    """Return a pair's log(head / base): the median over its rounds."""
    return statistics.median(math.log(head / base) for base, head in pair.rounds)


def _first_stage(results: Results) -> dict[Cell, list[float]]:
    """Return the first stage's figures of the cells that have no failure on either side."""
    figures_by_cell = figures(results, "first")
    cells = cells_measured_on_both(side_states(results, "base"), side_states(results, "head"))
    return {cell: figures_by_cell[cell] for cell in cells if cell in figures_by_cell}
