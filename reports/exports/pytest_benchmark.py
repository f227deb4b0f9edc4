"""pytest-benchmark's JSON, which `pytest-benchmark compare` and `pytest suite` read.

Names and groups are those of `pytest suite`. A round here is a pass and its time the pass's median,
because samples of one process are no replicates.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from reports.exports.points import Point, json_text
from suite.records.record import RunHeader
from variants.host.hardware import Cpu

SUITE_FILE = "suite/bench_alibi.py"


class SavedBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """One cell. `stats` are in seconds, as pytest-benchmark computes them of the passes."""

    group: str
    name: str
    fullname: str
    params: dict[str, str]
    param: str
    extra_info: dict[str, Any]
    options: dict[str, Any] = {}
    stats: dict[str, Any]


class SavedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One saved run; `version` is that of the pytest-benchmark that computed the statistics."""

    machine_info: dict[str, Any]
    commit_info: dict[str, Any]
    benchmarks: list[SavedBenchmark]
    datetime: str
    version: str


def export(points: Sequence[Point]) -> str:
    """Return one saved run with a benchmark for each cell."""
    import pytest_benchmark

    header = points[0].header
    return json_text(
        SavedRun(
            machine_info=_machine_info(header),
            commit_info=_commit_info(header),
            benchmarks=[_benchmark(point) for point in points],
            datetime=header.started,
            version=pytest_benchmark.__version__,
        )
    )


def _machine_info(header: RunHeader) -> dict[str, Any]:
    hardware = header.hardware
    cpu = hardware if isinstance(hardware, Cpu) else hardware.host
    return {
        "node": hardware.key,
        "system": "Linux",
        "release": header.circumstances.kernel,
        "python_version": header.circumstances.python,
        "cpu": {"brand_raw": cpu.name, "count": cpu.cores, "flags": list(cpu.features)},
        "alibi_hardware": hardware,
        "alibi_software": header.software,
    }


def _commit_info(header: RunHeader) -> dict[str, Any]:
    circumstances = header.circumstances
    return {
        "id": circumstances.commit,
        "time": None,
        "author_time": None,
        "dirty": circumstances.uncommitted,
        "project": "alibi-bench",
        "branch": "(unknown)",
    }


def _benchmark(point: Point) -> SavedBenchmark:
    row = point.row
    name = f"test_attention[{row.case}-{row.variant}]"
    return SavedBenchmark(
        group=row.case,
        name=name,
        fullname=f"{SUITE_FILE}::{name}",
        params={"case": row.case, "variant": row.variant},
        param=f"{row.case}-{row.variant}",
        extra_info={
            "status": row.status,
            "error": row.error,
            "error_budget": row.error_budget,
            "peak_bytes": row.peak_bytes,
            "persistent_bytes": row.persistent_bytes,
            "time_ms": row.time_ms,
            "vs_no_bias": row.vs_no_bias,
        },
        stats=_statistics(row.pass_ms),
    )


def _statistics(pass_ms: Sequence[float]) -> dict[str, Any]:
    from pytest_benchmark.stats import Stats

    statistics_of: Any = Stats  # which is untyped
    stats = statistics_of()
    for time_ms in pass_ms:
        stats.update(time_ms / 1000)
    return {**stats.as_dict(), "data": stats.data, "iterations": 1}
