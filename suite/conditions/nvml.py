"""NVML: a GPU's memory level, power, clocks and their limits, as the driver reports them.

The parent process reads NVML, and has no CUDA context. A figure that NVML does not give (no
library, no permission, no such counter) is an Absent with its reason, and fails nothing.
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
    """A figure that NVML does not give here; `reason` says why."""

    reason: str


@dataclass(frozen=True)
class MemoryLevel:
    """Bytes in use: of one process or of the whole device, as `scope` says."""

    bytes: int
    scope: str


@dataclass(frozen=True)
class Clock:
    """The SM clock in MHz, and the reasons why it is lower than it could be."""

    sm_mhz: int
    slowed_by: tuple[str, ...]

    @property
    def throttled(self) -> bool:
        """Whether heat or a power brake lowers the clock; the everyday power cap does not count."""
        return not _THROTTLES.isdisjoint(self.slowed_by)


@dataclass(frozen=True)
class GpuState:
    """The figures that explain how fast a GPU runs now, each Absent if NVML does not give it."""

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
    """Open a GPU by the UUID that CUDA gives it; yield Absent without one, or if NVML can't."""
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


def gpu_state(uuid: str | None) -> GpuState | Absent:
    """Return the state of a GPU by the UUID that CUDA gives it, or why there is none."""
    with open_gpu(uuid) as gpu:
        return gpu if isinstance(gpu, Absent) else gpu.state()


def _gpu_by_uuid(uuid: str) -> "NvmlGpu":
    """Return a GPU, or a MIG slice: its UUID starts with MIG- in NVML and with GPU- in CUDA."""
    try:
        return NvmlGpu(pynvml.nvmlDeviceGetHandleByUUID(uuid))
    except pynvml.NVMLError_NotFound:
        mig_slice = pynvml.nvmlDeviceGetHandleByUUID(uuid.replace("GPU-", "MIG-", 1))
        return NvmlGpu(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig_slice), mig_slice)


class NvmlGpu:
    """An opened GPU, or a MIG slice, which has separate memory but its GPU's clock and power."""

    def __init__(self, handle: Any, mig_slice: Any = None) -> None:
        self._handle = handle
        self._memory_handle = handle if mig_slice is None else mig_slice

    def memory_level(self, process: int | None = None) -> MemoryLevel | Absent:
        """Return the level of `process`, or of the whole device if NVML lists no processes."""
        if process is not None:
            processes = _read(
                lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(self._memory_handle)
            )
            if not isinstance(processes, Absent):
                for entry in processes:
                    if entry.pid == process and entry.usedGpuMemory is not None:
                        return MemoryLevel(int(entry.usedGpuMemory), "process")
        info = _read(lambda: pynvml.nvmlDeviceGetMemoryInfo(self._memory_handle))
        return info if isinstance(info, Absent) else MemoryLevel(int(info.used), "device")

    def clock(self) -> Clock | Absent:
        """Return the SM clock now, and the reasons why it is lowered."""
        return _read(
            lambda: Clock(
                int(pynvml.nvmlDeviceGetClockInfo(self._handle, pynvml.NVML_CLOCK_SM)),
                reasons(int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle))),
            )
        )

    def state(self) -> GpuState:
        """Return the figures that explain the GPU's speed."""
        handle = self._handle
        processes = _read(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
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
            processes=processes if isinstance(processes, Absent) else len(processes),
        )


def in_words(value: object) -> str:
    """Return a figure of NVML in words; an Absent is "unknown"."""
    if isinstance(value, Absent):
        return "unknown"
    return " and ".join(value) or "nothing" if isinstance(value, tuple) else str(value)


def reasons(bits: int) -> tuple[str, ...]:
    """Return the reasons for lowered clocks in words, from NVML's clock-event bits."""
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
