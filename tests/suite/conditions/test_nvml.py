"""NVML through the real pynvml bindings, over a fake of the library."""

import time
from dataclasses import replace
from typing import NoReturn

import pynvml
import pytest

from suite.conditions import nvml
from suite.conditions.nvml import Absent, Clock, MemoryLevel, NvmlGpu
from suite.memory.driver_level import level_rise
from tests.fakes.nvml import (
    GIB,
    MIG_UUID,
    NOT_SUPPORTED,
    SLICE,
    UUID,
    WELL,
    WHOLE,
    FakeNvml,
)


def test_without_the_library_its_absence_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_not_found(name: str) -> NoReturn:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", raise_not_found)
    with nvml.open_gpu(UUID) as opened, level_rise(opened) as risen:
        assert opened == Absent("NVML: NVML Shared Library Not Found")
    assert risen() == opened


def test_without_permission_the_reason_says_so(fake_nvml: FakeNvml) -> None:
    fake_nvml(refuses={"nvmlDeviceGetHandleByUUID": pynvml.NVML_ERROR_NO_PERMISSION})
    with nvml.open_gpu(UUID) as opened:
        assert opened == Absent("NVML: Insufficient Permissions")


def test_a_device_that_is_not_there_is_absent(fake_nvml: FakeNvml) -> None:
    library = fake_nvml(uuid="GPU-of-somebody-else")
    with nvml.open_gpu(UUID) as opened:
        assert opened == Absent("NVML: Not Found")
    assert (library.started, library.shut_down) == (1, 1)


def test_a_run_without_a_gpu_says_so_and_asks_nobody(fake_nvml: FakeNvml) -> None:
    library = fake_nvml()
    with nvml.open_gpu(None) as opened, level_rise(opened) as risen:
        assert opened == Absent("the run uses no GPU")
    assert risen() == opened
    assert library.asked_for == []


def test_a_gpu_is_opened_by_its_uuid_and_closed_again(fake_nvml: FakeNvml) -> None:
    library = fake_nvml()
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        assert (library.started, library.shut_down) == (1, 0)
    assert library.asked_for == [UUID]
    assert (library.started, library.shut_down) == (1, 1)


def test_a_slice_is_found_with_memory_of_its_own_and_the_clock_of_its_gpu(
    fake_nvml: FakeNvml,
) -> None:
    library = fake_nvml(uuid=MIG_UUID)
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        assert isinstance(opened.memory_level(), MemoryLevel)
        assert isinstance(opened.clock(), Clock)
    assert library.asked_for == [UUID, MIG_UUID]
    assert (library.memory_of, library.clock_of) == (SLICE, WHOLE)


def test_the_level_is_the_processes_own_where_the_driver_tells(fake_nvml: FakeNvml) -> None:
    fake_nvml(processes=((11, 2 * GIB), (12, 1 * GIB)))
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        assert opened.memory_level(12) == MemoryLevel(1 * GIB, "process")


def test_the_level_is_the_devices_where_a_processes_memory_is_hidden(fake_nvml: FakeNvml) -> None:
    fake_nvml(processes=((11, None),))
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        assert opened.memory_level(11) == MemoryLevel(3 * GIB, "device")


def test_a_rise_is_the_highest_level_less_the_one_before(fake_nvml: FakeNvml) -> None:
    library = fake_nvml()
    with nvml.open_gpu(UUID) as opened, level_rise(opened) as risen:
        library.used = 7 * GIB
        time.sleep(0.1)
        library.used = 4 * GIB
        time.sleep(0.02)
    assert risen() == MemoryLevel(4 * GIB, "device")


def test_memory_that_can_not_be_read_has_its_reason(fake_nvml: FakeNvml) -> None:
    fake_nvml(refuses={"nvmlDeviceGetMemoryInfo": NOT_SUPPORTED})
    with nvml.open_gpu(UUID) as opened, level_rise(opened) as risen:
        pass
    assert risen() == Absent("NVML: Not Supported")


def test_everything_about_a_gpu_is_read(fake_nvml: FakeNvml) -> None:
    fake_nvml(power_limit_mw=600_000)
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        seen = opened.state()
    assert seen == replace(WELL, power_w=250.0, power_limit_w=600.0, sm_clock_mhz=1200)


def test_a_mig_slice_shows(fake_nvml: FakeNvml) -> None:
    fake_nvml(mig=1)
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        assert opened.state().mig is True


def test_a_gpu_without_mig_says_not_supported(fake_nvml: FakeNvml) -> None:
    fake_nvml(refuses={"nvmlDeviceGetMigMode": NOT_SUPPORTED})
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        assert opened.state().mig == Absent("NVML: Not Supported")


def test_what_holds_the_clocks_down_is_told_in_words(fake_nvml: FakeNvml) -> None:
    bits = pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksThrottleReasonHwSlowdown
    fake_nvml(reasons=bits)
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        assert opened.state().slowed_by == ("power cap", "hardware slowdown")


@pytest.mark.parametrize("on", [0, 1])
def test_error_correction_is_as_it_is_now_and_not_as_it_will_be(
    on: int, fake_nvml: FakeNvml
) -> None:
    fake_nvml(ecc=on)
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        assert opened.state().ecc is bool(on)


@pytest.mark.parametrize(
    ("bits", "words", "throttled"),
    [
        (0, (), False),
        (pynvml.nvmlClocksEventReasonGpuIdle, (), False),
        (pynvml.nvmlClocksEventReasonSwPowerCap, ("power cap",), False),
        (
            pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
            ("application clocks",),
            False,
        ),
        (pynvml.nvmlClocksThrottleReasonHwThermalSlowdown, ("thermal, hardware",), True),
        (pynvml.nvmlClocksEventReasonSwThermalSlowdown, ("thermal, driver",), True),
        (pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown, ("power brake",), True),
        (
            pynvml.nvmlClocksEventReasonSwPowerCap
            | pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
            ("power cap", "power brake"),
            True,
        ),
    ],
)
def test_heat_and_a_power_brake_throttle_a_clock_and_nothing_else_does(
    bits: int, words: tuple[str, ...], throttled: bool, fake_nvml: FakeNvml
) -> None:
    fake_nvml(reasons=bits)
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        seen = opened.clock()
    assert seen == Clock(1_200, words)
    assert isinstance(seen, Clock)
    assert seen.throttled is throttled


@pytest.mark.parametrize(
    "missing", ["nvmlDeviceGetClockInfo", "nvmlDeviceGetCurrentClocksEventReasons"]
)
def test_a_clock_that_can_not_be_read_has_its_reason(missing: str, fake_nvml: FakeNvml) -> None:
    fake_nvml(refuses={missing: NOT_SUPPORTED})
    with nvml.open_gpu(UUID) as opened:
        assert isinstance(opened, NvmlGpu)
        assert opened.clock() == Absent("NVML: Not Supported")
