"""The entries that github-action-benchmark reads as its tool `customSmallerIsBetter`.

https://github.com/benchmark-action/github-action-benchmark
"""

from collections.abc import Sequence

import msgspec

from reports.exports.points import Point, json_text


class ActionEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest point of one chart. `range` is "± half of the 95% interval", in `unit`."""

    name: str
    value: float
    unit: str
    extra: str
    range: str | None = None


def export(points: Sequence[Point]) -> str:
    """Return an entry for each cell, its time in ms."""
    return json_text([_entry(point) for point in points])


def _entry(point: Point) -> ActionEntry:
    interval = point.row.time_ci_ms
    half_ms = None if interval is None else (interval[1] - interval[0]) / 2
    return ActionEntry(
        name=point.name_on_device,
        value=point.time_ms,
        unit="ms",
        range=None if half_ms is None else f"± {half_ms:.3g}",
        extra="\n".join(_tooltip(point)),
    )


def _tooltip(point: Point) -> list[str]:
    row, memory = point.row, point.memory_bytes
    lines = [f"passes: {row.passes}", row.software]
    lines += [] if row.vs_no_bias is None else [f"vs no_bias: {row.vs_no_bias:.3f}x"]
    lines += [] if row.error is None else [f"error: {row.error:.1e} of {row.error_budget:.1e}"]
    lines += [] if memory is None else [f"memory: {memory} bytes"]
    lines += ["too noisy to rank"] if row.contradictory else []
    return lines
