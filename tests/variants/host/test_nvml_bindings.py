"""A module pynvml that is missing, broken or another package's costs NVML's figures, no more."""

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from suite.conditions import health, nvml
from suite.conditions.nvml import Absent, NvmlGpu
from tests.fakes.nvml import UUID, FakeNvml
from variants.host import nvml_bindings, software
from variants.host.cuda_driver import DriverDevice
from variants.host.hardware import Hardware, this_gpu

DEVICE = DriverDevice(0, "Invented GPU", UUID, "9.0", 10, 1 << 30, 1 << 20)
REMEDY = "pip uninstall pynvml, then pip install nvidia-ml-py"


def place(monkeypatch: pytest.MonkeyPatch, **contents: Any) -> ModuleType:
    """Put another module of that name in the place of pynvml."""
    module = ModuleType("pynvml")
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(nvml_bindings, "_past_warnings", [])
    return module


def place_source(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> None:
    """Let `import pynvml` run a source text."""
    (folder / "pynvml.py").write_text(source)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(nvml_bindings, "_past_warnings", [])


def gpu_facts() -> tuple[Hardware, dict[str, str], Absent]:
    """Return what is seen of a GPU without NVML."""
    gpu = this_gpu(DEVICE)
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, Absent)
    return gpu, software.software_for(gpu), opened


def without_arguments() -> None:
    """Stand for a function that takes other arguments."""


OTHERS: dict[str, dict[str, Any]] = {
    "empty": {},
    "no lookup": {"nvmlInit": without_arguments, "nvmlShutdown": without_arguments},
    "other arguments": {
        "nvmlInit": without_arguments,
        "nvmlDeviceGetHandleByUUID": without_arguments,
        "nvmlSystemGetDriverVersion": lambda _: "580",
    },
    "no functions": {"nvmlInit": 3},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_module_of_that_name_leaves_a_gpu_without_its_figures(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place(monkeypatch, **OTHERS[kind])
    gpu, versions, opened = gpu_facts()
    assert gpu.key == "cuda-invented-gpu-10sm-1gib"
    assert "driver" not in versions
    assert opened.reason.startswith("the module pynvml does not fit (")
    assert opened.reason.endswith(REMEDY)


@pytest.mark.parametrize("source", ["raise RuntimeError('no driver here')", "import nowhere", "("])
def test_a_module_that_can_t_be_imported_is_told_with_what_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    place_source(monkeypatch, tmp_path, source)
    opened = gpu_facts()[2]
    assert opened.reason.startswith("the module pynvml does not fit (")
    assert [trouble.help for trouble in health.bindings_trouble()] == [opened.reason]


def test_that_nvml_is_not_read_in_full_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place(monkeypatch)
    for _ in range(2):
        gpu_facts()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("alibi_bench", logging.WARNING)
    assert record.getMessage().startswith(
        "NVML is not read in full: the module pynvml does not fit"
    )


def test_what_the_driver_refuses_is_not_laid_on_the_module(
    fake_nvml: FakeNvml, caplog: pytest.LogCaptureFixture
) -> None:
    fake_nvml(refuses={"nvmlInitWithFlags": 9})
    assert gpu_facts()[2] == Absent("NVML: Driver Not Loaded")
    assert caplog.records == []


def test_old_bindings_give_bytes_and_no_clock_events(
    monkeypatch: pytest.MonkeyPatch, fake_nvml: FakeNvml
) -> None:
    import pynvml

    fake_nvml()
    lacking = "nvmlDeviceGetCurrentClocksEventReasons"
    old = {name: value for name, value in vars(pynvml).items() if name != lacking}
    place(monkeypatch, **old | {"nvmlDeviceGetName": lambda _: b"Invented GPU"})
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        state = opened.state()
        assert isinstance(opened.clock(), Absent)
    assert state.name == "Invented GPU"
    assert state.sm_clock_mhz == 1200
    assert isinstance(state.slowed_by, Absent)
    (trouble,) = health.bindings_trouble()
    assert f"has no {lacking}" in trouble.what
    assert trouble.help == REMEDY


def test_the_bindings_installed_here_are_no_trouble() -> None:
    assert list(health.bindings_trouble()) == []
