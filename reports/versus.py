"""What became of each cell from base to head: its time, memory and error, and if it is there."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from reports.comparison import Comparison, Line, Verdict
from reports.decide import Decision, decide, decide_at_once, suspects
from reports.moderated import moderated, moderated_two_sample
from reports.standing import Cell, Standing, canaries_differ, of_pairs, of_run
from suite.fingerprint import differences
from suite.record import Pair, Stage, Versus
from suite.store import Results, StoreError

HEAVIER = 1.01
HEAVIER_BYTES = 64 << 10
LESS_EXACT = 2.0


def of_files(base: Results, head: Results, gate: float, across: Sequence[str] = ()) -> Comparison:
    """Compare two runs; `across` may hold "software", to compare torch versions knowingly.

    Raises StoreError when they can't be compared, naming the fields.
    """
    for run in (base, head):
        if any(isinstance(record, Versus | Pair) for record in run.records):
            raise StoreError(f"{run.path}: a file of pairs; compare it alone, it has both sides")
    differing = differences(head.machine, base.machine)
    software = set(base.machine.software) | set(head.machine.software)
    of_software = [one for one in differing if one.split()[0] in software]
    refused = [one for one in differing if one not in of_software or "software" not in across]
    if refused:
        hint = "; --across software compares them" if refused == of_software else ""
        raise StoreError(f"{head.path} against {base.path}: {'; '.join(refused)}{hint}")
    normalise = not of_software and canaries_differ(base, head)
    sides = of_run(base, normalise), of_run(head, normalise)
    notes = ["times divided by each pass's canary, which moved by over 5%"] if normalise else []
    notes += [f"across software: {'; '.join(of_software)}"] if of_software else []
    cells = [cell for cell in _measured(*sides) if all(side[cell].figures for side in sides)]
    effects = moderated_two_sample([(sides[0][c].figures, sides[1][c].figures) for c in cells])
    decisions = dict(zip(cells, decide_at_once(effects, gate), strict=True))
    counts = {cell: min(len(side[cell].figures) for side in sides) for cell in cells}
    return Comparison(
        str(base.path), str(head.path), notes, _lines(*sides, decisions, counts.__getitem__)
    )


def of_duel(results: Results) -> Comparison:
    """Return what a file of pairs says. Raises StoreError for a file without any."""
    versus = next((one for one in results.records if isinstance(one, Versus)), None)
    if versus is None:
        raise StoreError(f"{results.path}: a run and no file of pairs; compare it with another run")
    sides = of_pairs(results, "base"), of_pairs(results, "head")
    first, second = _first_stage(results), figures(results, "second")
    cells = list(first)
    places = {place: second[cell] for place, cell in enumerate(cells) if cell in second}
    made = decide([first[cell] for cell in cells], places, versus.gate)
    decisions = dict(zip(cells, made, strict=True))
    counts = {cell: len(first[cell]) for cell in cells}
    for cell in decisions.keys() & second.keys():
        confirmed = decisions[cell].verdict in {"slower", "faster"}
        counts[cell] = len(second[cell]) + (0 if confirmed else counts[cell])
    notes = [f"{name} slowed by {100 * by:g}% on purpose" for name, by in versus.injected.items()]
    shortest = min(map(len, figures(results, "first").values()), default=0)
    if shortest < versus.pairs[0]:
        notes.append(
            f"cut short: {shortest} of {versus.pairs[0]} pairs of the first stage are whole"
        )
    return Comparison(
        versus.base, versus.head, notes, _lines(*sides, decisions, counts.__getitem__)
    )


def suspected(results: Results, gate: float) -> list[Cell]:
    """Return the cells that the first stage of a file of pairs flags for a second."""
    first = _first_stage(results)
    cells = list(first)
    return [cells[place] for place in suspects(moderated(list(first.values())), gate)]


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
    whole = _measured(of_pairs(results, "base"), of_pairs(results, "head"))
    return {cell: found[cell] for cell in whole if cell in found}


def _measured(base: Mapping[Cell, Standing], head: Mapping[Cell, Standing]) -> list[Cell]:
    return [
        cell
        for cell, standing in base.items()
        if standing.status == "measured" and cell in head and head[cell].status == "measured"
    ]


def _lines(
    base: Mapping[Cell, Standing],
    head: Mapping[Cell, Standing],
    decisions: Mapping[Cell, Decision],
    replicates: Callable[[Cell], int],
) -> list[Line]:
    lines = []
    for cell in dict.fromkeys([*base, *head]):
        before, after = base.get(cell), head.get(cell)
        case, variant = cell
        if cell in decisions:
            decision = decisions[cell]
            low, high = decision.interval
            line = Line(
                case=case.id,
                variant=variant,
                verdict=decision.verdict,
                ratio=math.exp(decision.effect.estimate),
                ratio_ci=(math.exp(low), math.exp(high)) if math.isfinite(low) else None,
                replicates=replicates(cell),
            )
        else:
            verdict, reason = _without_times(before, after)
            line = Line(case=case.id, variant=variant, verdict=verdict, reason=reason)
        if before is not None and after is not None:
            _weigh(line, before, after)
        lines.append(line)
    return lines


def _without_times(before: Standing | None, after: Standing | None) -> tuple[Verdict, str]:
    """Return the verdict of a cell that has no times on both sides, and why."""
    if before is None:
        return "inconclusive", "head has it and base does not"
    if after is None:
        return "missing", "base has it and head does not"
    if before.status != "measured":
        return "inconclusive", f"{before.status} in base: {before.reason}"
    worked = bool(before.figures) or before.error is not None
    if worked and after.status != "measured":
        verdict: Verdict = "wrong" if after.status == "disagrees" else "missing"
        return verdict, f"{after.status} in head: {after.reason}"
    if before.figures:
        return "missing", "not measured in head: run --resume completes the file"
    return "inconclusive", "not measured in base"


def _weigh(line: Line, before: Standing, after: Standing) -> None:
    """Fill in how memory and error have changed."""
    for was, now in (
        (before.peak_bytes, after.peak_bytes),
        (before.persistent_bytes, after.persistent_bytes),
    ):
        if was is None or now is None:
            continue
        if was:
            line.memory_ratio = max(now / was, line.memory_ratio or 0.0)
        line.heavier |= now > HEAVIER * was and now - was > HEAVIER_BYTES
    if before.error and after.error is not None and after.status == "measured":
        line.error_ratio = after.error / before.error
        line.less_exact = line.error_ratio > LESS_EXACT
