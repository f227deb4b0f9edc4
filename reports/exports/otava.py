"""Apache Otava's CSV files and the configuration that names them.

https://github.com/apache/otava/blob/master/docs/CSV.md

Each cell is a test with a file of its own, because Otava wants every metric in every row, and not
every run measures every cell. Its rows are the commits, by time.
"""

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from reports.exports.points import Point, file_name
from suite.conditions.policy import Policy

CONFIG = "otava.yaml"
TEST_GROUP = "alibi"
COLUMNS = ("time", "commit", "torch", "time_ms")


class OtavaSeries(NamedTuple):
    """The points of one cell, by time."""

    name: str
    file: str
    points: list[Point]


def export(points: Sequence[Point]) -> dict[str, str]:
    """Return a CSV file for each cell and the configuration, by file name."""
    series = _series(points)
    files = {each.file: _csv(each.points) for each in series}
    return {CONFIG: _config(series), **files}


def with_policy_of_newest(points: Sequence[Point]) -> tuple[list[Point], list[str]]:
    """Return the points that were measured as the newest of their device, and what is left out.

    Two policies in one series would be a step that no code made.
    """
    newest: dict[str, Policy] = {}
    for point in sorted(points, key=_start_of):
        newest[point.row.hardware_key] = point.header.policy
    same = [point for point in points if point.header.policy == newest[point.row.hardware_key]]
    others = len(points) - len(same)
    caution = f"{others} of {len(points)} times are left out: the newest run has another policy"
    return same, [caution] if others else []


def _start_of(point: Point) -> datetime:
    return point.start


def _series(points: Sequence[Point]) -> list[OtavaSeries]:
    by_name: dict[str, list[Point]] = {}
    for point in sorted(points, key=_start_of):
        by_name.setdefault(point.name_on_device, []).append(point)
    return [OtavaSeries(name, _file(each[0]), each) for name, each in by_name.items()]


def _file(point: Point) -> str:
    row = point.row
    return "/".join(map(file_name, (row.hardware_key, row.case, f"{row.variant}.csv")))


def _csv(points: Sequence[Point]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for point in points:
        header = point.header
        changes = " with changes" if header.circumstances.uncommitted else ""
        commit = f"{header.circumstances.commit}{changes}"
        torch = header.software.get("torch", "")
        writer.writerow([point.start.isoformat(), commit, torch, point.time_ms])
    return text.getvalue()


def _config(series: Sequence[OtavaSeries]) -> str:
    lines = ["tests:"]
    for each in series:
        lines += [
            f"  {_quote(each.name)}:",
            "    type: csv",
            f"    file: {_quote(each.file)}",
            "    time_column: time",
            "    attributes: [commit, torch]",
            "    metrics:",
            f"      {_quote(each.name)}: {{column: time_ms, direction: -1, scale: 1}}",
        ]
    lines += ["test_groups:", f"  {TEST_GROUP}:"]
    lines += [f"    - {_quote(each.name)}" for each in series]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    """Return a text as YAML takes it: as a JSON string, but without pairs of surrogates."""
    return json.dumps(text, ensure_ascii=False)
