"""Bencher Metric Format, which `bencher run --adapter json` reads.

https://bencher.dev/docs/reference/bencher-metric-format
"""

from collections.abc import Sequence

import msgspec

from reports.exports.points import Point, json_text

NS_PER_MS = 1e6


class BencherMetric(msgspec.Struct, frozen=True, omit_defaults=True):
    """A measured value; the bounds are the ends of its 95% interval, if it has one."""

    value: float
    lower_value: float | None = None
    upper_value: float | None = None


def export(points: Sequence[Point]) -> str:
    """Return `latency` in ns, `memory` in bytes and `error` of each cell, by name and measure."""
    return json_text({point.name_on_device: _measures(point) for point in points})


def _measures(point: Point) -> dict[str, BencherMetric]:
    interval = point.row.time_ci_ms
    bounds = () if interval is None else (NS_PER_MS * interval[0], NS_PER_MS * interval[1])
    measures = {"latency": BencherMetric(NS_PER_MS * point.time_ms, *bounds)}
    if point.memory_bytes is not None:
        measures["memory"] = BencherMetric(point.memory_bytes)
    if point.row.error is not None:
        measures["error"] = BencherMetric(point.row.error)
    return measures
