"""A history as a page shows it: runs by device, the cells that several runs measured, and steps.

A page has it if at least two runs have a cell of an ALiBi variant in common.
"""

from collections.abc import Mapping, Sequence

import msgspec

from reports.history.change_points import FEWEST_RUNS, NoRuptures
from reports.history.environment import machine_key
from reports.history.steps import HistoryStep
from reports.history.text import short_code, summary
from reports.history.timeline import Timeline, TimelinePoint, timeline, timeline_without_steps
from reports.tables.table import by
from reports.web_page.page_cells import PageCell
from reports.web_page.setups import Setup
from suite.records.store import Results


class CellPlace(msgspec.Struct, frozen=True):
    """Where the filters find a cell of a history: its device, view, keys and variant."""

    device: str
    model: str
    mode: str
    dtype: str
    length: str
    kv_len: int
    case: str
    variant: str


class CellPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cell in run number `run` of its device, from 0. A default is left out of its JSON.

    `time_ms` is None unless it was measured, `time_ci_ms` below three passes. A `disturbed` time
    has no say in steps.
    """

    run: int
    status: str = "measured"
    reason: str = ""
    time_ms: float | None = None
    time_ci_ms: tuple[float, float] | None = None
    passes: int = 0
    disturbed: bool = False


class CellStep(msgspec.Struct, frozen=True):
    """A step that begins at run number `run`; the other fields are those of a HistoryStep.

    `is_regression` is true if the cell got slower and nothing but the code explains it.
    """

    run: int
    change: float
    change_ci: tuple[float, float]
    cause: str
    reason: str
    first_code: str
    other_codes: tuple[str, ...]
    is_regression: bool


class CellTimeline(msgspec.Struct, frozen=True):
    """A cell in two or more runs of its device, in their order, with its steps."""

    cell: CellPlace
    points: list[CellPoint]
    steps: list[CellStep]


class DeviceRuns(msgspec.Struct, frozen=True):
    """The runs of a device, oldest first, as (when it began, commit); and its setups' names."""

    name: str
    setups: tuple[str, ...]
    runs: list[tuple[str, str]]


class PageHistory(msgspec.Struct, frozen=True):
    """All that a page shows over time. `summary` is the verdict in a sentence; `lacks` is empty, or
    says why no step was looked for, and what to install."""

    devices: list[DeviceRuns]
    timelines: list[CellTimeline]
    summary: str
    lacks: str


def page_history(
    files: Sequence[Results], setups: Sequence[Setup], cells: Sequence[PageCell]
) -> PageHistory | None:
    """Return the history of files whose cells are `cells`; None if they are none.

    Raises StoreError for a file of pairs, and for two files of one run.
    """
    whole, lacks = _timeline(files)
    by_cell = by(lambda point: (point.hardware_key, point.case, point.variant), whole.points)
    repeated = {key: points for key, points in by_cell.items() if _runs_with_it(points) > 1}
    baselines = {cell.variant for cell in cells if cell.answers != "alibi"}
    if all(variant in baselines for _, _, variant in repeated):
        return None
    devices = _devices(repeated, setups)
    places = {cell.case: cell for cell in cells}
    steps = by(lambda step: (step.hardware_key, step.case, step.variant), whole.steps)
    timelines = [
        _timeline_of(
            devices[key], places[case], variant, points, steps.get((key, case, variant), [])
        )
        for (key, case, variant), points in repeated.items()
    ]
    return PageHistory(list(devices.values()), timelines, _verdict(whole, lacks), lacks)


def _verdict(whole: Timeline, lacks: str) -> str:
    if lacks:
        return "Steps were not looked for"
    if not whole.judged:
        return f"No cell has the {FEWEST_RUNS} steady runs in one environment that a step takes"
    return summary(whole)


def _runs_with_it(points: Sequence[TimelinePoint]) -> int:
    return sum(point.status != "skipped" for point in points)


def _timeline(files: Sequence[Results]) -> tuple[Timeline, str]:
    try:
        return timeline(files), ""
    except NoRuptures as absent:
        return timeline_without_steps(files), str(absent)


def _devices(
    repeated: Mapping[tuple[str, str, str], Sequence[TimelinePoint]], setups: Sequence[Setup]
) -> dict[str, DeviceRuns]:
    """Return by hardware key the device and the runs that its cells have."""
    by_key = by(lambda point: point.hardware_key, [it for own in repeated.values() for it in own])
    names = [points[0].device for points in by_key.values()]
    devices = {}
    for key, points in by_key.items():
        name = points[0].device
        devices[key] = DeviceRuns(
            name if names.count(name) == 1 else f"{name}, {key}",
            tuple(it.name for it in setups if machine_key(it.headers[0].hardware) == key),
            sorted({(point.started, short_code(point.code)) for point in points}),
        )
    return devices


def _timeline_of(
    device: DeviceRuns,
    place: PageCell,
    variant: str,
    points: Sequence[TimelinePoint],
    steps: Sequence[HistoryStep],
) -> CellTimeline:
    numbers = {run: number for number, run in enumerate(device.runs)}
    cell = CellPlace(
        device.name,
        *(place.model, place.mode, place.dtype, place.length, place.kv_len, place.case),
        variant,
    )
    own = [_point(numbers[point.started, short_code(point.code)], point) for point in points]
    marks = [_step(numbers[step.started, short_code(step.first_code)], step) for step in steps]
    return CellTimeline(cell, own, marks)


def _point(run: int, point: TimelinePoint) -> CellPoint:
    return CellPoint(
        run=run,
        status=point.status,
        reason=point.reason,
        time_ms=point.time_ms and _five_digits(point.time_ms),
        time_ci_ms=point.time_ci_ms
        and (_five_digits(point.time_ci_ms[0]), _five_digits(point.time_ci_ms[1])),
        passes=point.passes,
        disturbed=point.disturbed,
    )


def _step(run: int, step: HistoryStep) -> CellStep:
    return CellStep(
        run=run,
        change=step.change,
        change_ci=step.change_ci,
        cause=step.cause,
        reason=step.reason,
        first_code=short_code(step.first_code),
        other_codes=tuple(short_code(code) for code in step.codes if code != step.first_code),
        is_regression=step.is_regression,
    )


def _five_digits(figure: float) -> float:
    """Return a figure as a page needs it: half the size, and finer than any step."""
    return float(f"{figure:.5g}")
