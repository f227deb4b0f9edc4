"""NVML: a GPU's memory level, power, clocks and their limits, as the driver reports them.

The parent process reads NVML, and has no CUDA context. A figure that NVML does not give (no
library, no permission, no such counter, another module in the place of its bindings) is an Absent
with its reason, and fails nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from variants.host.nvml_bindings import NoNvml, open_nvml, read, text

_T = TypeVar("_T")

# The bits and the clock are those of nvml.h. Old bindings lack their names.
_REASONS = {
    "power cap": 0x4,
    "thermal, hardware": 0x40,
    "thermal, driver": 0x20,
    "power brake": 0x80,
    "hardware slowdown": 0x8,
    "application clocks": 0x2,
}
_SM_CLOCK = 1

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
        with open_nvml() as pynvml:
            yield _gpu_by_uuid(pynvml, uuid)
    except NoNvml as error:
        yield Absent(str(error))


def gpu_state(uuid: str | None) -> GpuState | Absent:
    """Return the state of a GPU by the UUID that CUDA gives it, or why there is none."""
    with open_gpu(uuid) as gpu:
        return gpu if isinstance(gpu, Absent) else gpu.state()


def _gpu_by_uuid(pynvml: Any, uuid: str) -> "NvmlGpu | Absent":
    """Return a GPU, or a MIG slice: its UUID starts with MIG- in NVML and with GPU- in CUDA."""
    whole = _read(lambda: pynvml.nvmlDeviceGetHandleByUUID(uuid))
    if not isinstance(whole, Absent):
        return NvmlGpu(pynvml, whole)
    slice_uuid = uuid.replace("GPU-", "MIG-", 1)
    part = _read(lambda: pynvml.nvmlDeviceGetHandleByUUID(slice_uuid))
    if isinstance(part, Absent):
        return whole
    whole = _read(lambda: pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part))
    return whole if isinstance(whole, Absent) else NvmlGpu(pynvml, whole, part)


class NvmlGpu:
    """An opened GPU, or a MIG slice, which has separate memory but its GPU's clock and power."""

    def __init__(self, pynvml: Any, handle: Any, mig_slice: Any = None) -> None:
        self._pynvml = pynvml
        self._handle = handle
        self._memory_handle = handle if mig_slice is None else mig_slice

    def memory_level(self, process: int | None = None) -> MemoryLevel | Absent:
        """Return the level of `process`, or of the whole device if NVML does not tell that."""
        if process is not None:
            used = _read(lambda: self._bytes_of(process))
            if not isinstance(used, Absent) and used is not None:
                return MemoryLevel(used, "process")
        pynvml, handle = self._pynvml, self._memory_handle
        return _read(
            lambda: MemoryLevel(int(pynvml.nvmlDeviceGetMemoryInfo(handle).used), "device")
        )

    def _bytes_of(self, process: int) -> int | None:
        for entry in self._pynvml.nvmlDeviceGetComputeRunningProcesses(self._memory_handle):
            if entry.pid == process and entry.usedGpuMemory is not None:
                return int(entry.usedGpuMemory)
        return None

    def clock(self) -> Clock | Absent:
        """Return the SM clock now, and the reasons why it is lowered."""
        pynvml, handle = self._pynvml, self._handle
        return _read(
            lambda: Clock(
                int(pynvml.nvmlDeviceGetClockInfo(handle, _SM_CLOCK)),
                reasons(int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))),
            )
        )

    def state(self) -> GpuState:
        """Return the figures that explain the GPU's speed."""
        pynvml, handle = self._pynvml, self._handle
        return GpuState(
            name=_read(lambda: text(pynvml.nvmlDeviceGetName(handle))),
            driver=_read(lambda: text(pynvml.nvmlSystemGetDriverVersion())),
            mig=_read(lambda: bool(pynvml.nvmlDeviceGetMigMode(handle)[0])),
            ecc=_read(lambda: bool(pynvml.nvmlDeviceGetEccMode(handle)[0])),
            power_w=_read(lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            power_limit_w=_read(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
            power_limit_default_w=_read(
                lambda: pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000
            ),
            sm_clock_mhz=_read(lambda: int(pynvml.nvmlDeviceGetClockInfo(handle, _SM_CLOCK))),
            sm_clock_max_mhz=_read(
                lambda: int(pynvml.nvmlDeviceGetMaxClockInfo(handle, _SM_CLOCK))
            ),
            slowed_by=_read(
                lambda: reasons(int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)))
            ),
            processes=_read(lambda: len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))),
        )


def in_words(value: object) -> str:
    """Return a figure of NVML in words; an Absent is "unknown"."""
    if isinstance(value, Absent):
        return "unknown"
    return " and ".join(value) or "nothing" if isinstance(value, tuple) else str(value)


def reasons(bits: int) -> tuple[str, ...]:
    """Return the reasons for lowered clocks in words, from NVML's clock-event bits."""
    return tuple(name for name, bit in _REASONS.items() if bits & bit)


def _read(call: Callable[[], _T]) -> _T | Absent:
    try:
        return read(call)
    except NoNvml as error:
        return Absent(str(error))
