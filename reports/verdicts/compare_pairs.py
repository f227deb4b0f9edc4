"""What a file of pairs says: the verdicts of a duel, and which cells its first stage suspects."""

import math
import statistics
from collections.abc import Mapping, Sequence

from reports.verdicts.cell_state import side_states
from reports.verdicts.comparison import Comparison, lines_of, measured_on_both, software_notes
from reports.verdicts.decision import decide, suspects
from reports.verdicts.moderated_t import paired_effects
from suite.cases.plan import Cell
from suite.pairs.stages import second_stage
from suite.records.fingerprint import software_differences
from suite.records.record import Fault, Pair, Stage, Versus
from suite.records.store import Results, StoreError, is_of_pairs


def compare_pairs(results: Results) -> Comparison:
    """Return what a file of pairs says. Raises StoreError for a file without any."""
    versus = next((one for one in results.records if isinstance(one, Versus)), None)
    if versus is None and any(is_of_pairs(record) for record in results.records):
        raise StoreError(f"{results.path}: cut short before its first pair; measure again")
    if versus is None:
        raise StoreError(f"{results.path}: a run and no file of pairs; compare it with another run")
    sides = side_states(results, "base"), side_states(results, "head")
    first, second = _first_stage(results), figures(results, "second")
    cells = list(first)
    places = {place: second[cell] for place, cell in enumerate(cells) if cell in second}
    made = decide([first[cell] for cell in cells], places, versus.gate)
    decisions = dict(zip(cells, made, strict=True))
    counts = {cell: len(first[cell]) for cell in cells}
    for cell in decisions.keys() & second.keys():
        confirmed = decisions[cell].verdict in {"slower", "faster"}
        counts[cell] = len(second[cell]) + (0 if confirmed else counts[cell])
    notes = _notes(results, versus, first, places)
    return Comparison(
        versus.base, versus.head, notes, lines_of(*sides, decisions, counts.__getitem__)
    )


def _notes(
    results: Results,
    versus: Versus,
    first: Mapping[Cell, Sequence[float]],
    second: Mapping[int, Sequence[float]],
) -> list[str]:
    """Return what is to be said of pairs beside the verdicts."""
    notes = [f"{name} slowed by {100 * by:g}% on purpose" for name, by in versus.injected.items()]
    notes += software_notes(software_differences(versus.head_software, versus.base_software))
    found, planned = figures(results, "first"), versus.pairs[0]
    whole = measured_on_both(side_states(results, "base"), side_states(results, "head"))
    shortest = min((len(found.get(cell, ())) for cell in whole), default=planned)
    if shortest < planned:
        notes.append(f"cut short: {shortest} of {planned} pairs of the first stage are whole")
        return notes
    again = suspects(paired_effects(list(first.values())), versus.gate)
    if not any(isinstance(one, Fault) and one.pass_number for one in results.records):
        planned = second_stage(planned, len(again), len(found))
    shortest = min((len(second.get(place, ())) for place in again), default=planned)
    if shortest < planned:
        notes.append(f"cut short: {shortest} of {planned} pairs of the second stage are whole")
    return notes


def suspected_cells(results: Results, gate: float) -> list[Cell]:
    """Return the cells that the first stage of a file of pairs flags for a second."""
    first = _first_stage(results)
    cells = list(first)
    return [cells[place] for place in suspects(paired_effects(list(first.values())), gate)]


def figures(results: Results, stage: Stage) -> dict[Cell, list[float]]:
    """Return of each cell log(head / base), one a pair: the median over its rounds."""
    found: dict[Cell, list[float]] = {}
    for record in results.records:
        if isinstance(record, Pair) and record.stage == stage:
            found.setdefault((record.case, record.variant), []).append(figure(record))
    return found


def figure(pair: Pair) -> float:
    """Return a pair's log(head / base): the median over its rounds."""
    return statistics.median(math.log(head / base) for base, head in pair.rounds)


def _first_stage(results: Results) -> dict[Cell, list[float]]:
    """Return the first stage's figures of the cells that are decided: nothing befell them."""
    found = figures(results, "first")
    whole = measured_on_both(side_states(results, "base"), side_states(results, "head"))
    return {cell: found[cell] for cell in whole if cell in found}
