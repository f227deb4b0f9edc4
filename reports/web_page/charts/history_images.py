"""A history's panels as SVG and PNG: for each device those with a step, or else its first cells."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from reports.web_page.charts.cell_panel import panel_spec
from reports.web_page.charts.images import Picture, picture_of, reading
from reports.web_page.over_time.page_history import CellTimeline, DeviceRuns, PageHistory

_MOST_PANELS = 12  # as many as the page opens with
_COLUMNS = 2
_WIDTH = 460
_ROOM = 0.02  # at least, around the times, so that noise looks like noise


def history_pictures(history: PageHistory) -> Iterator[Picture]:
    """Yield a picture for each device that has a cell with times."""
    several = len(history.devices) > 1
    for number, device in enumerate(history.devices, start=1):
        own = [each for each in history.timelines if each.cell.device == device.name]
        shown = _to_show(own)
        if shown:
            name = f"history-{number}" if several else "history"
            yield picture_of(name, "From run to run", _panels(device, shown))


def _to_show(timelines: Sequence[CellTimeline]) -> list[CellTimeline]:
    """Return those with a step, regressions first, then by size; where none has one, the first."""
    timed = [each for each in timelines if any(point.time_ms for point in each.points)]
    stepped = [each for each in timed if each.steps]

    def rank(timeline: CellTimeline) -> tuple[bool, float]:
        regressed = any(step.is_regression for step in timeline.steps)
        return regressed, max(abs(step.change) for step in timeline.steps)

    return (sorted(stepped, key=rank, reverse=True) or timed)[:_MOST_PANELS]


def _panels(device: DeviceRuns, timelines: Sequence[CellTimeline]) -> dict[str, Any]:
    runs = len(device.runs)
    panels: list[Any] = []
    datasets: dict[str, Any] = {}
    for number, timeline in enumerate(timelines):
        spec = panel_spec()
        params, config = spec.pop("params"), spec.pop("config")
        names = {each: f"{each}_{number}" for each in ("points", "steps", "frame")}
        cell = timeline.cell
        title = f"{cell.variant}, {cell.length} keys, {cell.mode}, {cell.dtype}"
        panels.append(reading(spec, names) | {"title": title, "width": _WIDTH})
        datasets |= {
            names["points"]: [_plain(point) for point in timeline.points],
            names["steps"]: [_plain(step) for step in timeline.steps],
            names["frame"]: _frame(timeline, runs),
        }
    values = {
        "run_names": [(commit[:7], began[:10]) for began, commit in device.runs],
        "run_ticks": sorted({0, (runs - 1) // 2, runs - 1}),
    }
    return {
        "title": {"text": f"{device.name}: time in each run", "anchor": "start"},
        "concat": panels,
        "params": [each | {"value": values[each["name"]]} for each in params],
        "columns": _COLUMNS,
        "datasets": datasets,
        "config": config | {"background": "white", "font": "sans-serif"},
    }


def _plain(row: msgspec.Struct) -> dict[str, Any]:
    """Return a row with its defaults, which its JSON leaves out."""
    return {name: getattr(row, name) for name in row.__struct_fields__}


def _frame(timeline: CellTimeline, runs: int) -> list[dict[str, float]]:
    ends = [
        time
        for point in timeline.points
        if point.time_ms is not None
        for time in point.time_ci_ms or (point.time_ms,)
    ]
    low, high = min(ends) * (1 - _ROOM), max(ends) * (1 + _ROOM)
    return [{"run": 0, "time_ms": low}, {"run": max(runs - 1, 1), "time_ms": high}]
