"""What the driver says of a GPU, through NVML: its memory level, power, clocks and their limits.

Read by the parent, which holds no CUDA context of its own. Whatever NVML lacks (no library, no
permission, no such counter) is an Absent with its reason, and fails nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

_T = TypeVar("_T")

_REASONS = {
    "power cap": pynvml.nvmlClocksEventReasonSwPowerCap,
    "thermal, hardware": pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    "thermal, driver": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "power brake": pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
    "hardware slowdown": pynvml.nvmlClocksThrottleReasonHwSlowdown,
    "application clocks": pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
}

_THROTTLES = {"thermal, hardware", "thermal, driver", "power brake"}


@dataclass(frozen=True)
class Absent:
    """A figure that NVML does not give here, and why."""

    reason: str


@dataclass(frozen=True)
class MemoryLevel:
    """Bytes in use on a device; `scope` says whose: one process's or the whole device's."""

    bytes: int
    scope: str


@dataclass(frozen=True)
class Clock:
    """The SM clock in MHz, and what holds it down."""

    sm_mhz: int
    slowed_by: tuple[str, ...]

    @property
    def throttled(self) -> bool:
        """Whether heat or a power brake holds it down; the power cap is an everyday limit."""
        return not _THROTTLES.isdisjoint(self.slowed_by)


@dataclass(frozen=True)
class GpuState:
    """What decides how fast a GPU runs just now; an Absent where NVML does not say."""

    name: str | Absent
    driver: str | Absent
    mig: bool | Absent
    ecc: bool | Absent
    power_w: float | Absent
    power_limit_w: float | Absent
    power_limit_default_w: float | Absent
    sm_clock_mhz: int | Absent
    sm_clock_max_mhz: int | Absent
    slowed_by: tuple[str, ...] | Absent
    processes: int | Absent


@contextmanager
def open_gpu(uuid: str | None) -> Iterator["NvmlGpu | Absent"]:
    """Open one GPU by the UUID that CUDA gives it, or say why it can't be; None is no GPU."""
    if uuid is None:
        yield Absent("the run uses no GPU")
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield Absent(_words(error))
        return
    try:
        try:
            gpu: NvmlGpu | Absent = _gpu_by_uuid(uuid)
        except pynvml.NVMLError as error:
            gpu = Absent(_words(error))
        yield gpu
    finally:
        pynvml.nvmlShutdown()


def _gpu_by_uuid(uuid: str) -> "NvmlGpu":
    """Return a GPU, or a MIG slice, whose name in NVML is another than in CUDA."""
    try:
        return NvmlGpu(pynvml.nvmlDeviceGetHandleByUUID(uuid))
    except pynvml.NVMLError_NotFound:
        part = pynvml.nvmlDeviceGetHandleByUUID(uuid.replace("GPU-", "MIG-", 1))
        return NvmlGpu(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part), part)


class NvmlGpu:
    """One opened GPU, or a slice: it has memory of its own, and its GPU's clock and power."""

    def __init__(self, handle: Any, part: Any = None) -> None:
        self._handle = handle
        self._memory_of = handle if part is None else part

    def memory_level(self, process: int | None = None) -> MemoryLevel | Absent:
        """Return what `process` uses, or the whole device where the driver keeps that to itself."""
        if process is not None:
            running = _read(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(self._memory_of))
            if not isinstance(running, Absent):
                for one in running:
                    if one.pid == process and one.usedGpuMemory is not None:
                        return MemoryLevel(int(one.usedGpuMemory), "process")
        info = _read(lambda: pynvml.nvmlDeviceGetMemoryInfo(self._memory_of))
        return info if isinstance(info, Absent) else MemoryLevel(int(info.used), "device")

    def clock(self) -> Clock | Absent:
        """Return the SM clock and what holds it down just now."""
        return _read(
            lambda: Clock(
                int(pynvml.nvmlDeviceGetClockInfo(self._handle, pynvml.NVML_CLOCK_SM)),
                reasons(int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle))),
            )
        )

    def state(self) -> GpuState:
        """Read everything that explains a clock."""
        handle = self._handle
        running = _read(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return GpuState(
            name=_read(lambda: str(pynvml.nvmlDeviceGetName(handle))),
            driver=_read(lambda: str(pynvml.nvmlSystemGetDriverVersion())),
            mig=_read(lambda: bool(pynvml.nvmlDeviceGetMigMode(handle)[0])),
            ecc=_read(lambda: bool(pynvml.nvmlDeviceGetEccMode(handle)[0])),
            power_w=_read(lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            power_limit_w=_read(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
            power_limit_default_w=_read(
                lambda: pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000
            ),
            sm_clock_mhz=_read(lambda: _clock(pynvml.nvmlDeviceGetClockInfo, handle)),
            sm_clock_max_mhz=_read(lambda: _clock(pynvml.nvmlDeviceGetMaxClockInfo, handle)),
            slowed_by=_read(
                lambda: reasons(int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)))
            ),
            processes=running if isinstance(running, Absent) else len(running),
        )


def in_words(value: object) -> str:
    """Return a figure of NVML's in words; what is absent is unknown."""
    if isinstance(value, Absent):
        return "unknown"
    return " and ".join(value) or "nothing" if isinstance(value, tuple) else str(value)


def reasons(bits: int) -> tuple[str, ...]:
    """Return in words what holds the clocks down, from NVML's clock-event bits."""
    return tuple(name for name, bit in _REASONS.items() if bits & bit)


def _clock(read: Callable[[Any, int], int], handle: Any) -> int:
    return read(handle, pynvml.NVML_CLOCK_SM)


def _read(read: Callable[[], _T]) -> _T | Absent:
    try:
        return read()
    except pynvml.NVMLError as error:
        return Absent(_words(error))


def _words(error: Exception) -> str:
    return f"NVML: {error}"
