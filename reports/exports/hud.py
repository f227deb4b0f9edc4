"""Records of PyTorch's benchmark database, which its dashboard, the HUD, shows (schema v3).

https://github.com/pytorch/pytorch/wiki/PyTorch-OSS-benchmark-infra
https://github.com/pytorch/test-infra/blob/main/clickhouse_db_schema/oss_ci_benchmark_v3/schema.sql

The uploading action adds repository, commit and time. All values of `extra_info` are text.
"""

from collections.abc import Sequence

import msgspec

from reports.exports.points import Point, json_text
from suite.records.record import RunHeader
from variants.host.hardware import Gpu

REPOSITORIES = {"torch": "pytorch/pytorch", "triton": "triton-lang/triton"}


class HudBenchmark(msgspec.Struct, frozen=True):
    """The benchmark; `mode` is training or inference."""

    name: str
    mode: str
    dtype: str
    extra_info: dict[str, str]


class HudModel(msgspec.Struct, frozen=True):
    """The HUD's name of what was measured: here a case as the model, a variant as its backend."""

    name: str
    type: str
    backend: str


class HudMetric(msgspec.Struct, frozen=True):
    """A figure; its name has the unit. Several values are those of several passes."""

    name: str
    benchmark_values: tuple[float, ...]


class HudRunner(msgspec.Struct, frozen=True, omit_defaults=True):
    """The device: `name` in words, `type` its hardware key."""

    name: str
    type: str
    cpu_info: str
    cpu_count: int
    gpu_info: str = ""
    gpu_count: int = 0
    avail_gpu_mem_in_gb: int = 0


class HudDependency(msgspec.Struct, frozen=True, omit_defaults=True):
    """A package that computed."""

    version: str
    repo: str = ""


class HudRecord(msgspec.Struct, frozen=True):
    """One metric of one cell."""

    benchmark: HudBenchmark
    model: HudModel
    metric: HudMetric
    runners: tuple[HudRunner, ...]
    dependencies: dict[str, HudDependency]


def export(points: Sequence[Point]) -> str:
    """Return a record for each metric of each cell: latency, memory and error."""
    header = points[0].header
    runners, dependencies = (_runner(header),), _dependencies(header)
    return json_text(
        [
            HudRecord(_benchmark(point), _model(point), metric, runners, dependencies)
            for point in points
            for metric in _metrics(point)
        ]
    )


def _benchmark(point: Point) -> HudBenchmark:
    row = point.row
    return HudBenchmark(
        name="alibi-bench",
        mode="training" if row.mode == "backward" else "inference",
        dtype=row.dtype,
        extra_info={
            "mode": row.mode,
            "q_len": str(row.q_len),
            "kv_len": str(row.kv_len),
            "heads": str(row.heads),
            "head_dim": str(row.head_dim),
            "batch": str(row.batch),
            "code": row.code,
        },
    )


def _model(point: Point) -> HudModel:
    return HudModel(name=point.row.case, type="attention", backend=point.row.variant)


def _metrics(point: Point) -> list[HudMetric]:
    metrics = [HudMetric("latency(ms)", point.row.pass_ms)]
    if point.memory_bytes is not None:
        metrics.append(HudMetric("memory(bytes)", (float(point.memory_bytes),)))
    if point.row.error is not None:
        metrics.append(HudMetric("error", (point.row.error,)))
    return metrics


def _runner(header: RunHeader) -> HudRunner:
    hardware = header.hardware
    if not isinstance(hardware, Gpu):
        return HudRunner(hardware.name, hardware.key, hardware.name, hardware.cores)
    return HudRunner(
        name=hardware.name,
        type=hardware.key,
        cpu_info=hardware.host.name,
        cpu_count=hardware.host.cores,
        gpu_info=hardware.name,
        gpu_count=1,
        avail_gpu_mem_in_gb=hardware.memory_bytes >> 30,
    )


def _dependencies(header: RunHeader) -> dict[str, HudDependency]:
    return {
        name: HudDependency(version, REPOSITORIES.get(name, ""))
        for name, version in header.software.items()
        if version != "absent"
    }
