"""A comparison of base and head: a line for each cell, with its verdict."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from reports.verdicts.cell_state import CellState
from reports.verdicts.decision import Decision
from suite.cases.plan import Cell

Verdict = Literal["slower", "faster", "same", "inconclusive", "missing", "wrong"]


class Line(msgspec.Struct, kw_only=True):
    """One cell of a comparison; ratios are head over base, errors are shares of their budgets.

    `heavier`: the peak bytes of a call or the persistent bytes of the variant grew by over 1% and
    over 64 KiB. `less_exact`: the error more than doubled.
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
        """Whether this cell is a regression, for which a CI should fail."""
        return self.verdict in {"slower", "missing", "wrong"} or self.heavier or self.less_exact

    @property
    def judged(self) -> bool:
        """Whether this cell has an answer; an inconclusive time that got no heavier has none."""
        return self.verdict != "inconclusive" or self.regressed


class Comparison(msgspec.Struct):
    """The names of base and head, notes on how they were compared, and a line for each cell."""

    base: str
    head: str
    notes: list[str]
    lines: list[Line]

    @property
    def regressed(self) -> bool:
        """Whether any cell regressed."""
        return any(line.regressed for line in self.lines)

    @property
    def judged(self) -> int:
        """How many cells have an answer."""
        return sum(line.judged for line in self.lines)


HEAVIER = 1.01
HEAVIER_BYTES = 64 << 10
"""Memory that grew by more than both, as a ratio and in bytes, makes a cell heavier."""

LESS_EXACT = 2.0
"""An error that grew by more than this ratio makes a cell less exact."""


def software_notes(differing: Sequence[str]) -> list[str]:
    """Return the note that different software was compared on request; none if there is none."""
    return [f"across software: {'; '.join(differing)}"] if differing else []


def cells_measured_on_both(
    base: Mapping[Cell, CellState], head: Mapping[Cell, CellState]
) -> list[Cell]:
    """Return the cells that have status "measured" on both sides."""
    return [
        cell
        for cell, state in base.items()
        if state.status == "measured" and cell in head and head[cell].status == "measured"
    ]


def lines_of(
    base: Mapping[Cell, CellState],
    head: Mapping[Cell, CellState],
    decisions: Mapping[Cell, Decision],
    replicates: Callable[[Cell], int],
) -> list[Line]:
    """Return the line of each cell that either side has.

    `decisions` are those of the cells with times on both sides; `replicates` returns a cell's
    number of pairs or passes.
    """
    lines = []
    for cell in dict.fromkeys([*base, *head]):
        before, after = base.get(cell), head.get(cell)
        case, variant = cell
        if cell in decisions:
            line = _decided_line(cell, decisions[cell], replicates(cell))
        else:
            verdict, reason = _verdict_without_times(before, after)
            line = Line(case=case.id, variant=variant, verdict=verdict, reason=reason)
        if before is not None and after is not None:
            _fill_in_memory_and_error(line, before, after)
        lines.append(line)
    return lines


def _decided_line(cell: Cell, decision: Decision, replicates: int) -> Line:
    case, variant = cell
    low, high = decision.interval
    return Line(
        case=case.id,
        variant=variant,
        verdict=decision.verdict,
        ratio=math.exp(decision.effect.estimate),
        ratio_ci=(math.exp(low), math.exp(high)) if math.isfinite(low) else None,
        replicates=replicates,
    )


def _verdict_without_times(
    before: CellState | None, after: CellState | None
) -> tuple[Verdict, str]:
    """Return the verdict of a cell that lacks times on a side, and the reason."""
    if before is None:
        return "inconclusive", "head has it and base does not"
    if after is None:
        return "missing", "base has it and head does not"
    if before.status != "measured":
        return "inconclusive", f"{before.status} in base: {before.reason}"
    worked = bool(before.figures) or before.checked
    if worked and after.status != "measured":
        verdict: Verdict = "wrong" if after.status == "disagrees" else "missing"
        return verdict, f"{after.status} in head: {after.reason}"
    if before.figures:
        return "missing", "not measured in head: run --resume completes the file"
    return "inconclusive", "not measured in base"


def _fill_in_memory_and_error(line: Line, before: CellState, after: CellState) -> None:
    """Fill in the ratios of memory and error, and whether they are regressions."""
    for bytes_before, bytes_after in (
        (before.peak_bytes, after.peak_bytes),
        (before.persistent_bytes, after.persistent_bytes),
    ):
        if bytes_before is None or bytes_after is None:
            continue
        if bytes_before:
            line.memory_ratio = max(bytes_after / bytes_before, line.memory_ratio or 0.0)
        growth = bytes_after - bytes_before
        line.heavier |= bytes_after > HEAVIER * bytes_before and growth > HEAVIER_BYTES
    if after.status == "measured":
        line.error_ratio = _error_ratio(before, after)
        line.less_exact = (line.error_ratio or 0.0) > LESS_EXACT


def _error_ratio(before: CellState, after: CellState) -> float | None:
    """Return the ratio of errors; None where base has none above 0, or head none at all.

    Checks of both sides that drew the same inputs and rows are compared by their largest errors.
    Without such checks the medians are: over a few draws the error of the same code moves by up to
    25 times, and its share of the budget by up to 3 times (in results/published).
    """
    base, head = before.error_shares, after.error_shares
    shared = base.keys() & head.keys()
    if shared:
        base_error, head_error = (max(side[draw] for draw in shared) for side in (base, head))
    elif base and head:
        base_error, head_error = (statistics.median(side.values()) for side in (base, head))
    else:
        return None
    return head_error / base_error if base_error else None
