"""A history as plain rows, for text, programs and charts: a row a cell and run, and the steps."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from reports.history.change_points import FEWEST_RUNS
from reports.history.series import CellHistory, SeriesPoint, cell_histories
from reports.history.steps import HistoryStep, longest_stretch, steps_of
from suite.records.record import Status
from suite.records.store import Results

Mark = Literal["", "slower", "faster"]


class TimelinePoint(msgspec.Struct, frozen=True):
    """A cell in a run. `time_ms` is None unless it was measured, its interval below three passes.

    `unit` tells devices of one hardware key apart, and is empty in older files. A time that other
    processes disturbed has no say in steps. `mark` is set where a step begins,
    and `cause` is that step's ("code", "environment" or "machine"). A chart of times draws
    `time_ms` with `time_ci_ms` over `started`, a line for each (hardware_key, case, variant); a
    grid of statuses draws `status` over `started`.
    """

    hardware_key: str
    device: str
    case: str
    variant: str
    started: str
    unit: str
    code: str
    status: Status
    reason: str
    time_ms: float | None
    time_ci_ms: tuple[float, float] | None
    passes: int
    disturbed: bool
    mark: Mark
    cause: str


class Timeline(msgspec.Struct, frozen=True):
    """A history: points by cell and then by run; steps, what regressed first and then by size.

    `judged` counts the cells with enough runs in one environment for a step of the code. `short`
    has the others by variant, case and hardware key, each with the most runs that it has in one.
    """

    points: list[TimelinePoint]
    steps: list[HistoryStep]
    judged: int
    short: dict[str, int]

    @property
    def regressed(self) -> bool:
        """Whether any cell got slower by what is not known to be other than the code."""
        return any(step.is_regression for step in self.steps)


def timeline(files: Sequence[Results]) -> Timeline:
    """Return the history of results files, which may be of several devices; measures nothing.

    `msgspec.to_builtins` of it is what `history --format json` prints. Raises StoreError for a file
    of pairs or a second file of one run, and NoRuptures if ruptures is not installed.
    """
    return _timeline(files, steps_of)


def timeline_without_steps(files: Sequence[Results]) -> Timeline:
    """Return the same without a search for steps, for which nothing has to be installed."""
    return _timeline(files, lambda _cell: [])


def _timeline(
    files: Sequence[Results], search: Callable[[CellHistory], list[HistoryStep]]
) -> Timeline:
    cells = cell_histories(files)
    points: list[TimelinePoint] = []
    steps: list[HistoryStep] = []
    for cell in cells:
        own = search(cell)
        marks = {step.started: step for step in own}
        points += [_row(cell, point, marks.get(point.run.header.started)) for point in cell.points]
        steps += own
    stretches = {_name(cell): longest_stretch(cell) for cell in cells}
    short = {name: runs for name, runs in stretches.items() if runs < FEWEST_RUNS}
    steps.sort(key=lambda step: (not step.is_regression, -abs(step.change)))
    return Timeline(points, steps, len(cells) - len(short), short)


def _name(cell: CellHistory) -> str:
    return f"{cell.variant} {cell.case.id} {cell.hardware_key}"


def _row(cell: CellHistory, point: SeriesPoint, step: HistoryStep | None) -> TimelinePoint:
    return TimelinePoint(
        hardware_key=cell.hardware_key,
        device=point.run.header.hardware.name,
        case=cell.case.id,
        variant=cell.variant,
        started=point.run.header.started,
        unit=point.run.header.circumstances.unit,
        code=point.run.code,
        status=point.status,
        reason=point.reason,
        time_ms=point.time and point.time.value,
        time_ci_ms=point.time and point.time.interval,
        passes=point.passes,
        disturbed=point.disturbed,
        mark="" if step is None else "slower" if step.change > 0 else "faster",
        cause="" if step is None else step.cause,
    )
