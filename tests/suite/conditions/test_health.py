"""The doctor's findings: each trouble is seen, named with its figure, and comes with a remedy."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from suite.conditions import health
from suite.conditions.nvml import Absent, GpuState
from tests.fakes.nvml import WELL
from tests.variants.selections import a_cpu, a_gpu


def test_a_quiet_machine_has_no_trouble() -> None:
    assert not list(health.load_trouble(0.05, 2))
    assert not list(health.memory_trouble(8 << 30))
    assert not list(health.environment_troubles({"HOME": "/root", "OMP_NUM_THREADS": "2"}, 2))
    assert not list(health.gpu_troubles(WELL))


def test_a_busy_machine_is_named_with_its_share() -> None:
    (trouble,) = health.load_trouble(0.43, 2)
    assert "43% of 2 cores" in trouble.what
    assert "top" in trouble.help


def test_little_memory_is_named_with_its_size() -> None:
    (trouble,) = health.memory_trouble(1 << 30)
    assert "1.0 GiB" in trouble.what


def test_a_governor_that_moves_clocks_is_named(tmp_path: Path) -> None:
    file = tmp_path / "governor"
    assert not list(health.governor_trouble(file))
    file.write_text("performance\n")
    assert not list(health.governor_trouble(file))
    file.write_text("powersave\n")
    (trouble,) = health.governor_trouble(file)
    assert "powersave" in trouble.what
    assert "cpupower" in trouble.help


@pytest.mark.parametrize(
    "name", ["TORCH_LOGS", "TORCHDYNAMO_DISABLE", "CUDA_LAUNCH_BLOCKING", "MALLOC_ARENA_MAX"]
)
def test_a_variable_that_changes_what_is_measured_is_to_be_unset(name: str) -> None:
    (trouble,) = health.environment_troubles({name: "1"}, 2)
    assert trouble.help == f"unset {name}"


def test_an_odd_thread_count_is_named() -> None:
    (trouble,) = health.environment_troubles({"OMP_NUM_THREADS": "3"}, 2)
    assert "OMP_NUM_THREADS=3" in trouble.what


def test_a_missing_compiler_comes_with_the_package() -> None:
    (trouble,) = health.compiler_trouble("no-such-compiler")
    assert trouble.help == "apt-get install g++"


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (replace(WELL, processes=2), "2 other processes"),
        (replace(WELL, power_limit_w=400.0), "400 W of 700 W"),
        (replace(WELL, slowed_by=("power brake",)), "power brake"),
        (replace(WELL, sm_clock_mhz=345), "345 of 1980 MHz"),
        (replace(WELL, mig=True), "MIG"),
    ],
)
def test_what_holds_a_gpu_back_is_named_with_a_remedy(gpu: GpuState, words: str) -> None:
    (trouble,) = health.gpu_troubles(gpu)
    assert words in trouble.what
    assert trouble.help


def test_a_gpu_that_says_nothing_is_no_trouble() -> None:
    absent = Absent("NVML: Not Supported")
    silent = GpuState(**{field.name: absent for field in fields(GpuState)})
    assert not list(health.gpu_troubles(silent))


def test_a_gpu_without_bfloat16_is_told_of_float16() -> None:
    (trouble,) = health.bfloat16_trouble(a_gpu(capability="7.5"))
    assert "compute capability 7.5" in trouble.what
    assert "measured in float16" in trouble.what
    assert "--dtypes bfloat16" in trouble.help
    assert not list(health.bfloat16_trouble(a_gpu(capability="8.0")))
    assert not list(health.bfloat16_trouble(a_cpu()))
