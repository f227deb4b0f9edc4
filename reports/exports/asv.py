"""The folder of results that `asv publish` reads: machines, benchmarks, and a file a commit.

https://asv.readthedocs.io/en/stable/dev.html#file-formats
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec

from reports.exports.points import Point, conditions_digest, file_name, json_text
from reports.tables.estimates import mean_over_passes
from suite.failures import BadRequest
from suite.records.record import RunHeader
from variants.host.hardware import Gpu

BENCHMARK_VERSION = "1"
"""asv leaves out results of another version of a benchmark."""

RESULT_COLUMNS = (
    "result",
    "params",
    "version",
    "stats_ci_99_a",
    "stats_ci_99_b",
    "stats_q_25",
    "stats_q_75",
    "samples",
)
"""The columns that we fill of those that asv has. A row may end before the last of them."""

ASV_LEVEL = 0.99
"""The level of the intervals that asv has a place for."""


class AsvMachine(msgspec.Struct, frozen=True):
    """A device, by its hardware key; `version` is the format's."""

    machine: str
    os: str
    cpu: str
    num_cpu: str
    gpu: str
    version: int = 1


class AsvBenchmark(msgspec.Struct, frozen=True):
    """A series of asv: the time or the memory of one cell."""

    name: str
    pretty_name: str
    type: str
    unit: str
    code: str = ""
    param_names: tuple[str, ...] = ()
    params: tuple[tuple[str, ...], ...] = ()
    version: str = BENCHMARK_VERSION


class AsvResults(msgspec.Struct, frozen=True):
    """One commit on one machine with one set of software; `date` in milliseconds since 1970.

    Each of `results` has a value for each of the first of `result_columns`.
    """

    commit_hash: str
    date: int
    env_name: str
    params: dict[str, str]
    python: str
    requirements: dict[str, str]
    results: dict[str, tuple[Any, ...]]
    env_vars: dict[str, str] = {}
    durations: dict[str, float] = {}
    result_columns: tuple[str, ...] = RESULT_COLUMNS
    version: int = 2


def at_commits(points: Sequence[Point]) -> tuple[list[Point], list[str]]:
    """Return the points that a commit alone measured, and how many others are left out.

    Raises BadRequest if that is all of them.
    """
    placed = [point for point in points if _is_commit(point.header)]
    if not placed:
        raise BadRequest(
            "export --format asv: FILES were measured with uncommitted changes or without git, and "
            "asv wants a commit; commit and measure again"
        )
    others = len(points) - len(placed)
    caution = f"{others} of {len(points)} times are left out: asv wants a commit without changes"
    return placed, [caution] if others else []


def _is_commit(header: RunHeader) -> bool:
    circumstances = header.circumstances
    return not circumstances.uncommitted and not circumstances.commit.startswith("tree-")


def export(points: Sequence[Point]) -> dict[str, str]:
    """Return the files by their paths in the folder of results."""
    benchmarks: dict[str, Any] = {}
    machines: dict[str, AsvMachine] = {}
    runs: dict[str, list[Point]] = {}
    for point in points:
        benchmarks |= {each.name: each for each in _benchmarks(point)}
        folder = file_name(point.row.hardware_key)
        machines[f"{folder}/machine.json"] = _machine(point.header)
        runs.setdefault(f"{folder}/{_file(point.header)}", []).append(point)
    documents: dict[str, object] = {"benchmarks.json": benchmarks | {"version": 2}}
    documents |= machines
    documents |= {path: _results(run) for path, run in runs.items()}
    return {path: json_text(document) for path, document in documents.items()}


def _benchmarks(point: Point) -> list[AsvBenchmark]:
    cell = f"{point.row.case}.{point.row.variant}"
    return [
        AsvBenchmark(f"time.{cell}", cell, "time", "seconds"),
        AsvBenchmark(f"memory.{cell}", cell, "memory", "bytes"),
    ]


def _machine(header: RunHeader) -> AsvMachine:
    hardware = header.hardware
    cpu = hardware.host if isinstance(hardware, Gpu) else hardware
    return AsvMachine(
        machine=hardware.key,
        os="Linux",
        cpu=cpu.name,
        num_cpu=str(cpu.cores),
        gpu=hardware.name if isinstance(hardware, Gpu) else "",
    )


def _file(header: RunHeader) -> str:
    return file_name(f"{header.circumstances.commit[:8]}-{_environment(header)}.json")


def _environment(header: RunHeader) -> str:
    return f"torch{header.software.get('torch', 'unknown')}-{conditions_digest(header)}"


def _results(points: Sequence[Point]) -> AsvResults:
    header = points[0].header
    machine = msgspec.to_builtins(_machine(header))
    software = {name: version for name, version in header.software.items() if version != "absent"}
    params = {name: str(value) for name, value in machine.items() if name != "version"}
    python = header.circumstances.python.rpartition(".")[0]
    params |= software | {"python": python, "conditions": conditions_digest(header)}
    results: dict[str, tuple[Any, ...]] = {}
    for point in points:
        time, memory = _benchmarks(point)
        passes_s = [each / 1000 for each in point.row.pass_ms]
        spread = _spread(passes_s)
        results[time.name] = ([point.time_ms / 1000], [], BENCHMARK_VERSION, *spread, [passes_s])
        if point.memory_bytes is not None:
            results[memory.name] = ([point.memory_bytes], [], BENCHMARK_VERSION)
    return AsvResults(
        commit_hash=header.circumstances.commit,
        date=round(points[0].start.timestamp() * 1000),
        env_name=_environment(header),
        params=params,
        python=python,
        requirements=software,
        results=results,
    )


def _spread(passes_s: Sequence[float]) -> tuple[list[float] | None, ...]:
    """Return the ends of the 99% interval of a time, and its quartiles, all over passes.

    None for each below three passes, which have no interval.
    """
    interval = mean_over_passes([math.log(each) for each in passes_s], ASV_LEVEL).interval
    if interval is None:
        return (None,) * 4
    lower, _, upper = statistics.quantiles(passes_s, n=4, method="inclusive")
    return tuple([each] for each in (*interval, lower, upper))
