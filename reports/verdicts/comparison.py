"""A comparison: what was compared, and the line of each cell with its verdict."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from reports.verdicts.cell_state import CellState
from reports.verdicts.decision import Decision
from suite.cases.plan import Cell

Verdict = Literal["slower", "faster", "same", "inconclusive", "missing", "wrong"]


class Line(msgspec.Struct, kw_only=True):
    """One cell of a comparison; ratios are head over base.

    `heavier` means that a call's peak or what the variant keeps grew by over 1% and 64 KiB,
    `less_exact` that its error more than doubled.
    """

    case: str
    variant: str
    verdict: Verdict
    ratio: float | None = None
    ratio_ci: tuple[float, float] | None = None
    replicates: int = 0
    memory_ratio: float | None = None
    heavier: bool = False
    error_ratio: float | None = None
    less_exact: bool = False
    reason: str | None = None

    @property
    def regressed(self) -> bool:
        """Whether a CI should fail for it."""
        return self.verdict in {"slower", "missing", "wrong"} or self.heavier or self.less_exact


class Comparison(msgspec.Struct):
    """What was compared, and its cells."""

    base: str
    head: str
    notes: list[str]
    lines: list[Line]

    @property
    def regressed(self) -> bool:
        """Whether any cell did."""
        return any(line.regressed for line in self.lines)


HEAVIER = 1.01


HEAVIER_BYTES = 64 << 10


LESS_EXACT = 2.0


def software_notes(differing: Sequence[str]) -> list[str]:
    """Return the note that different software was compared knowingly, if it was."""
    return [f"across software: {'; '.join(differing)}"] if differing else []


def measured_on_both(base: Mapping[Cell, CellState], head: Mapping[Cell, CellState]) -> list[Cell]:
    """Return the cells that nothing befell on either side."""
    return [
        cell
        for cell, standing in base.items()
        if standing.status == "measured" and cell in head and head[cell].status == "measured"
    ]


def lines_of(
    base: Mapping[Cell, CellState],
    head: Mapping[Cell, CellState],
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


def _without_times(before: CellState | None, after: CellState | None) -> tuple[Verdict, str]:
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


def _weigh(line: Line, before: CellState, after: CellState) -> None:
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
