"""bencher, github-action and hud have the fields that their readers document, and true figures."""

import re
from typing import Any, get_args

import msgspec
import pytest

from reports.exports.formats import FileFormat, export_file
from tests.records import a_case, a_cell, a_machine, a_plan, results
from tests.reports.export_runs import CELL, KEY, a_finished_run, decode
from variants.host.hardware import Gpu


class DocumentedMetric(msgspec.Struct, forbid_unknown_fields=True):
    """A metric in https://bencher.dev/docs/reference/bencher-metric-format."""

    value: float
    lower_value: float | None = None
    upper_value: float | None = None


class DocumentedEntry(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of the readme of github-action-benchmark."""

    name: str
    value: float
    unit: str
    range: str = ""
    extra: str = ""


class DocumentedRunner(msgspec.Struct, forbid_unknown_fields=True):
    """A runner of schema v3 of PyTorch's benchmark database, as are the five types below."""

    name: str
    type: str
    cpu_info: str = ""
    cpu_count: int = 0
    mem_info: str = ""
    avail_mem_in_gb: int = 0
    gpu_info: str = ""
    gpu_count: int = 0
    gpu_mem_info: str = ""
    avail_gpu_mem_in_gb: int = 0
    extra_info: dict[str, str] = {}


class DocumentedBenchmark(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    mode: str = ""
    dtype: str = ""
    extra_info: dict[str, str] = {}


class DocumentedModel(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    type: str = ""
    backend: str = ""
    origins: list[str] = []
    extra_info: dict[str, str] = {}


class DocumentedDependency(msgspec.Struct, forbid_unknown_fields=True):
    repo: str = ""
    branch: str = ""
    sha: str = ""
    version: str = ""
    extra_info: dict[str, str] = {}


class DocumentedHudMetric(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    benchmark_values: list[float]
    target_value: float = 0.0
    extra_info: dict[str, str] = {}


class DocumentedRecord(msgspec.Struct, forbid_unknown_fields=True):
    benchmark: DocumentedBenchmark
    model: DocumentedModel
    metric: DocumentedHudMetric
    runners: list[DocumentedRunner] = []
    dependencies: dict[str, DocumentedDependency] = {}
    inputs: dict[str, Any] = {}


def export(form: Any, passes: int = 3) -> Any:
    return decode(export_file([a_finished_run(passes)], form).text)


def the_entry_of(cell: str, entries: list[DocumentedEntry]) -> DocumentedEntry:
    (entry,) = [each for each in entries if each.name.endswith(cell)]
    return entry


@pytest.mark.parametrize("form", get_args(FileFormat))
def test_what_is_left_out_is_said_in_every_format(form: Any) -> None:
    assert export_file([a_finished_run()], form).cautions[0].startswith("2 of 4 cells")


def test_bencher_has_latency_in_nanoseconds_with_bounds_memory_and_error() -> None:
    benchmarks = msgspec.convert(export("bencher"), dict[str, dict[str, DocumentedMetric]])
    assert set(benchmarks) == {f"{KEY}/n512-h8-d64-float32/no_bias", f"{KEY}/{CELL}"}
    flex = benchmarks[f"{KEY}/{CELL}"]
    assert set(flex) == {"latency", "memory", "error"}
    latency = flex["latency"]
    assert latency.value == pytest.approx((3.0 * 3.3 * 2.7) ** (1 / 3) * 1e6)
    assert latency.lower_value is not None
    assert latency.upper_value is not None
    assert latency.lower_value < latency.value < latency.upper_value
    assert flex["memory"].value == 4 << 20
    assert flex["error"].value == 1e-7
    assert "memory" not in benchmarks[f"{KEY}/n512-h8-d64-float32/no_bias"]


def test_a_time_of_too_few_passes_has_no_bounds() -> None:
    assert set(export("bencher", passes=2)[f"{KEY}/{CELL}"]["latency"]) == {"value"}
    entries = msgspec.convert(export("github-action", passes=2), list[DocumentedEntry])
    assert the_entry_of(CELL, entries).range == ""


def test_github_action_has_milliseconds_with_a_range_that_its_code_reads_as_a_number() -> None:
    entries = msgspec.convert(export("github-action"), list[DocumentedEntry])
    entry = the_entry_of(CELL, entries)
    assert (entry.name, entry.unit) == (f"{KEY}/{CELL}", "ms")
    assert entry.value == pytest.approx((3.0 * 3.3 * 2.7) ** (1 / 3))
    match = re.fullmatch(r"± (\d\S*)", entry.range)
    assert match
    assert 0.1 < float(match[1]) < 1
    assert "passes: 3" in entry.extra
    assert "error: 1.0e-07 of 1.0e-06" in entry.extra


def test_hud_has_a_record_for_each_metric_of_a_cell() -> None:
    records = msgspec.convert(export("hud"), list[DocumentedRecord])
    flex = [record for record in records if record.model.backend == "flex"]
    metrics = {record.metric.name: record.metric.benchmark_values for record in flex}
    assert metrics["latency(ms)"] == pytest.approx([3.0, 3.3, 2.7])
    assert metrics["memory(bytes)"] == [4 << 20]
    assert metrics["error"] == [1e-7]
    for record in records:
        assert record.model.name == "n512-h8-d64-float32"
        assert (record.benchmark.mode, record.benchmark.dtype) == ("inference", "float32")
        assert [runner.type for runner in record.runners] == [KEY]
        assert record.dependencies["torch"].version == "2.13.0"
        assert record.dependencies["torch"].repo == "pytorch/pytorch"
        assert "triton" not in record.dependencies, "it is absent"


def test_hud_calls_a_backward_training() -> None:
    case = a_case(mode="backward")
    run = results(a_machine(a_plan(case)), *a_cell(case, "flex"))
    records = msgspec.convert(decode(export_file([run], "hud").text), list[DocumentedRecord])
    assert {record.benchmark.mode for record in records} == {"training"}
    assert {record.benchmark.extra_info["mode"] for record in records} == {"backward"}


def test_hud_names_a_gpu_and_its_host() -> None:
    header = a_machine(a_plan(variants=["no_bias", "flex", "eager", "compile"], passes=3))
    cpu: Any = header.hardware
    gpu = Gpu("cuda-x-1sm", "X, 1 SM", "9.0", 1, 80 << 30, 1 << 20, False, 300, cpu)
    run = a_finished_run(header=msgspec.structs.replace(header, hardware=gpu))
    records = msgspec.convert(decode(export_file([run], "hud").text), list[DocumentedRecord])
    (runner,) = records[0].runners
    assert (runner.gpu_info, runner.gpu_count, runner.avail_gpu_mem_in_gb) == ("X, 1 SM", 1, 80)
    assert runner.cpu_info == "Invented CPU, 2 cores"
