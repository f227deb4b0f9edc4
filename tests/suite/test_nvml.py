"""NVML through the real pynvml bindings, over a small library object that we answer for."""

import ctypes
import time
from collections.abc import Iterator
from typing import Any

import pynvml
import pytest

from suite import nvml
from suite.nvml import Absent, Clock, Gpu, MemoryLevel

GIB = 1 << 30
WHOLE, SLICE = 16, 32
UUID = "GPU-00017f80-ff05-0607-0809-0a0b0c0d0e0f"


class FakeLibrary:
    """What pynvml finds in libnvidia-ml: C functions that fill in what they are handed."""

    def __init__(self, **changes: Any) -> None:
        self.used = changes.get("used", 3 * GIB)
        self.processes = changes.get("processes", ())
        self.asked_for: list[str] = []
        self.memory_of: int | None = None
        self.clock_of: int | None = None
        self.shut_down = 0
        self.refuses = changes.get("refuses", {})
        self.uuid = changes.get("uuid", UUID)
        self.mig = changes.get("mig", 0)
        self.ecc = changes.get("ecc", 1)
        self.reasons = changes.get("reasons", 0)
        self.power_limit_mw = changes.get("power_limit_mw", 700_000)

    def __getattr__(self, name: str) -> Any:
        if name in self.refuses:
            return lambda *_: self.refuses[name]
        if name not in _FUNCTIONS:
            raise AttributeError(name)
        return lambda *arguments: _FUNCTIONS[name](self, *arguments)


def target(argument: Any) -> Any:
    """Return what a byref or pointer argument refers to."""
    return argument._obj if hasattr(argument, "_obj") else argument


def memory(library: FakeLibrary, handle: Any, info: Any) -> int:
    library.memory_of = address(handle).value
    one = target(info)
    one.total, one.free, one.used = 80 * GIB, 80 * GIB - library.used, library.used
    return int(pynvml.NVML_SUCCESS)


def processes(library: FakeLibrary, _handle: Any, count: Any, found: Any) -> int:
    if not library.processes:
        target(count).value = 0
        return int(pynvml.NVML_SUCCESS)
    if found is None:
        target(count).value = len(library.processes)
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    target(count).value = len(library.processes)
    for place, (pid, used) in enumerate(library.processes):
        found[place].pid = pid
        unknown = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
        found[place].usedGpuMemory = unknown if used is None else used
    return int(pynvml.NVML_SUCCESS)


def number(value: Any) -> Any:
    """Return a C function that writes a number to its last argument."""

    def fill(library: FakeLibrary, *arguments: Any) -> int:
        target(arguments[-1]).value = value(library) if callable(value) else value
        return int(pynvml.NVML_SUCCESS)

    return fill


def mig(library: FakeLibrary, _handle: Any, current: Any, pending: Any) -> int:
    target(current).value = target(pending).value = library.mig
    return int(pynvml.NVML_SUCCESS)


def ecc(library: FakeLibrary, _handle: Any, current: Any, pending: Any) -> int:
    target(current).value, target(pending).value = library.ecc, 1 - library.ecc
    return int(pynvml.NVML_SUCCESS)


def address(handle: Any) -> ctypes.c_void_p:
    """Return a handle as the pointer that it is, to read or to set."""
    return ctypes.c_void_p.from_buffer(target(handle))


def gpu_of_slice(library: FakeLibrary, _part: Any, whole: Any) -> int:
    address(whole).value = WHOLE
    return int(pynvml.NVML_SUCCESS)


def handle_by_uuid(library: FakeLibrary, uuid: Any, handle: Any) -> int:
    library.asked_for.append(uuid.value.decode())
    found = library.asked_for[-1] == library.uuid
    address(handle).value = SLICE if library.uuid.startswith("MIG-") else WHOLE
    return int(pynvml.NVML_SUCCESS if found else pynvml.NVML_ERROR_NOT_FOUND)


def shut_down(library: FakeLibrary) -> int:
    library.shut_down += 1
    return int(pynvml.NVML_SUCCESS)


def name(library: FakeLibrary, *arguments: Any) -> int:
    arguments[-2].value = b"Invented GPU"
    return int(pynvml.NVML_SUCCESS)


def clock(library: FakeLibrary, handle: Any, domain: Any, mhz: Any) -> int:
    library.clock_of = address(handle).value
    assert domain.value == pynvml.NVML_CLOCK_SM
    target(mhz).value = 1_200
    return int(pynvml.NVML_SUCCESS)


def succeed(library: FakeLibrary, *arguments: Any) -> int:
    return int(pynvml.NVML_SUCCESS)


_FUNCTIONS = {
    "nvmlInitWithFlags": succeed,
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": gpu_of_slice,
    "nvmlShutdown": shut_down,
    "nvmlErrorString": lambda _, code: b"code " + str(code).encode(),
    "nvmlDeviceGetHandleByUUID": handle_by_uuid,
    "nvmlDeviceGetMemoryInfo": memory,
    "nvmlDeviceGetComputeRunningProcesses_v3": processes,
    "nvmlDeviceGetName": name,
    "nvmlSystemGetDriverVersion": name,
    "nvmlDeviceGetMigMode": mig,
    "nvmlDeviceGetEccMode": ecc,
    "nvmlDeviceGetPowerUsage": number(250_000),
    "nvmlDeviceGetEnforcedPowerLimit": number(lambda library: library.power_limit_mw),
    "nvmlDeviceGetPowerManagementDefaultLimit": number(700_000),
    "nvmlDeviceGetClockInfo": clock,
    "nvmlDeviceGetMaxClockInfo": number(1_980),
    "nvmlDeviceGetCurrentClocksEventReasons": number(lambda library: library.reasons),
}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts a fake library where pynvml keeps the real one."""

    def put(**changes: Any) -> FakeLibrary:
        library = FakeLibrary(**changes)
        monkeypatch.setattr(pynvml, "nvmlLib", library)
        # pynvml remembers function pointers, which would still be those of another library.
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        monkeypatch.setattr(pynvml, "_nvmlLib_refcount", 0)
        return library

    return put


@pytest.fixture
def gpu(install: Any) -> Iterator[Gpu]:
    """Open the GPU of a fake library with everything in it."""
    install()
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        yield opened


def test_without_the_library_its_absence_is_the_answer() -> None:
    with nvml.opened(UUID) as opened, nvml.rise(opened) as risen:
        assert opened == Absent("NVML: NVML Shared Library Not Found")
    assert risen() == opened


def test_without_permission_the_reason_says_so(install: Any) -> None:
    install(refuses={"nvmlDeviceGetHandleByUUID": pynvml.NVML_ERROR_NO_PERMISSION})
    with nvml.opened(UUID) as opened:
        assert opened == Absent("NVML: Insufficient Permissions")


def test_a_device_that_is_not_there_is_absent(install: Any) -> None:
    library = install(uuid="GPU-of-somebody-else")
    with nvml.opened(UUID) as opened:
        assert opened == Absent("NVML: Not Found")
    assert library.shut_down == 1


def test_a_run_without_a_gpu_says_so_and_asks_nobody(install: Any) -> None:
    library = install()
    with nvml.opened(None) as opened, nvml.rise(opened) as risen:
        assert opened == Absent("the run uses no GPU")
    assert risen() == opened
    assert library.asked_for == []


def test_a_gpu_is_opened_by_its_uuid_and_closed_again(install: Any) -> None:
    library = install()
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        assert library.shut_down == 0
    assert library.asked_for == [UUID]
    assert library.shut_down == 1


def test_a_slice_is_found_with_memory_of_its_own_and_the_clock_of_its_gpu(install: Any) -> None:
    in_nvml = UUID.replace("GPU-", "MIG-")
    library = install(uuid=in_nvml)
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        assert isinstance(opened.memory_level(), MemoryLevel)
        assert isinstance(opened.clock(), Clock)
    assert library.asked_for == [UUID, in_nvml]
    assert (library.memory_of, library.clock_of) == (SLICE, WHOLE)


def test_the_level_is_the_processes_own_where_the_driver_tells(install: Any) -> None:
    install(processes=((11, 2 * GIB), (12, 1 * GIB)))
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        assert opened.memory_level(12) == MemoryLevel(1 * GIB, "process")


def test_the_level_is_the_devices_where_a_processes_memory_is_hidden(install: Any) -> None:
    install(processes=((11, None),))
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        assert opened.memory_level(11) == MemoryLevel(3 * GIB, "device")


def test_a_rise_is_the_highest_level_less_the_one_before(install: Any) -> None:
    library = install()
    with nvml.opened(UUID) as opened, nvml.rise(opened) as risen:
        library.used = 7 * GIB
        time.sleep(0.1)
        library.used = 4 * GIB
        time.sleep(0.02)
    assert risen() == MemoryLevel(4 * GIB, "device")


def test_memory_that_can_not_be_read_has_its_reason(install: Any) -> None:
    install(refuses={"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_NOT_SUPPORTED})
    with nvml.opened(UUID) as opened, nvml.rise(opened) as risen:
        pass
    assert risen() == Absent("NVML: Not Supported")


def test_everything_about_a_gpu_is_read(gpu: Gpu) -> None:
    seen = gpu.circumstances()
    assert seen.name == "Invented GPU"
    assert seen.power_w == 250
    assert seen.power_limit_w == 700
    assert seen.sm_clock_mhz == 1200
    assert seen.sm_clock_max_mhz == 1980
    assert seen.slowed_by == ()
    assert seen.mig is False
    assert seen.ecc is True
    assert seen.processes == 0


def test_a_mig_slice_shows(install: Any) -> None:
    install(mig=1)
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        assert opened.circumstances().mig is True


def test_a_gpu_without_mig_says_not_supported(install: Any) -> None:
    install(refuses={"nvmlDeviceGetMigMode": pynvml.NVML_ERROR_NOT_SUPPORTED})
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        assert opened.circumstances().mig == Absent("NVML: Not Supported")


def test_what_holds_the_clocks_down_is_told_in_words(install: Any) -> None:
    bits = pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksThrottleReasonHwSlowdown
    install(reasons=bits)
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        assert opened.circumstances().slowed_by == ("power cap", "hardware slowdown")


@pytest.mark.parametrize("on", [0, 1])
def test_error_correction_is_as_it_is_now_and_not_as_it_will_be(on: int, install: Any) -> None:
    install(ecc=on)
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        assert opened.circumstances().ecc is bool(on)


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
    bits: int, words: tuple[str, ...], throttled: bool, install: Any
) -> None:
    install(reasons=bits)
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        seen = opened.clock()
    assert seen == Clock(1_200, words)
    assert isinstance(seen, Clock)
    assert seen.throttled is throttled


@pytest.mark.parametrize(
    "missing", ["nvmlDeviceGetClockInfo", "nvmlDeviceGetCurrentClocksEventReasons"]
)
def test_a_clock_that_can_not_be_read_has_its_reason(missing: str, install: Any) -> None:
    install(refuses={missing: pynvml.NVML_ERROR_NOT_SUPPORTED})
    with nvml.opened(UUID) as opened:
        assert isinstance(opened, Gpu)
        assert opened.clock() == Absent("NVML: Not Supported")
