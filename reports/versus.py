"""What became of each cell from base to head: its time, memory and error, and if it is there."""

import math
from collections.abc import Callable, Mapping, Sequence

from reports.comparison import Comparison, Line, Verdict
from reports.decide import Decision, decide_at_once
from reports.moderated import moderated_two_sample
from reports.standing import Cell, Standing, canaries_differ, of_run
from suite.fingerprint import differences, software_differences
from suite.record import Pair, Record, Versus
from suite.store import Results, StoreError

HEAVIER = 1.01
HEAVIER_BYTES = 64 << 10
LESS_EXACT = 2.0


def of_files(base: Results, head: Results, gate: float, across: Sequence[str] = ()) -> Comparison:
    """Compare two runs; `across` may hold "software", to compare torch versions knowingly.

    Raises StoreError when they can't be compared, naming the fields.
    """
    for run in (base, head):
        if any(is_of_pairs(record) for record in run.records):
            raise StoreError(f"{run.path}: a file of pairs; compare it alone, it has both sides")
    differing = differences(head.machine, base.machine)
    other = software_differences(head.machine.software, base.machine.software)
    refused = [one for one in differing if one not in other or "software" not in across]
    if refused:
        hint = "; --across software compares them" if refused == other else ""
        raise StoreError(f"{head.path} against {base.path}: {'; '.join(refused)}{hint}")
    normalise = not other and canaries_differ(base, head)
    sides = of_run(base, normalise), of_run(head, normalise)
    notes = ["times divided by each pass's canary, which moved by over 5%"] if normalise else []
    notes += told_of_software(other)
    cells = [cell for cell in measured_on_both(*sides) if all(side[cell].figures for side in sides)]
    effects = moderated_two_sample([(sides[0][c].figures, sides[1][c].figures) for c in cells])
    decisions = dict(zip(cells, decide_at_once(effects, gate), strict=True))
    counts = {cell: min(len(side[cell].figures) for side in sides) for cell in cells}
    return Comparison(
        str(base.path), str(head.path), notes, lines_of(*sides, decisions, counts.__getitem__)
    )


def told_of_software(differing: Sequence[str]) -> list[str]:
    """Return the note that different software was compared knowingly, if it was."""
    return [f"across software: {'; '.join(differing)}"] if differing else []


def is_of_pairs(record: Record) -> bool:
    """Whether a record is of a duel and no run's."""
    return isinstance(record, Versus | Pair) or getattr(record, "side", "head") == "base"


def measured_on_both(base: Mapping[Cell, Standing], head: Mapping[Cell, Standing]) -> list[Cell]:
    """Return the cells that nothing befell on either side."""
    return [
        cell
        for cell, standing in base.items()
        if standing.status == "measured" and cell in head and head[cell].status == "measured"
    ]


def lines_of(
    base: Mapping[Cell, Standing],
    head: Mapping[Cell, Standing],
    decisions: Mapping[Cell, Decision],
    replicates: Callable[[Cell], int],
) -> list[Line]:
    """Return the line of every cell of either side; `decisions` are of those with times on both."""
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
