"""NVML without a GPU: what pynvml finds in libnvidia-ml, and what is read of a GPU that is well."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pynvml

from suite.conditions.nvml import GpuState

GIB = 1 << 30
SUCCESS: int = pynvml.NVML_SUCCESS
NOT_FOUND: int = pynvml.NVML_ERROR_NOT_FOUND
NOT_SUPPORTED: int = pynvml.NVML_ERROR_NOT_SUPPORTED
TOO_SMALL: int = pynvml.NVML_ERROR_INSUFFICIENT_SIZE
WHOLE, SLICE = 16, 32
UUID = "GPU-00017f80-ff05-0607-0809-0a0b0c0d0e0f"
MIG_UUID = UUID.replace("GPU-", "MIG-")
WELL = GpuState(
    name="Invented GPU",
    driver="580.12",
    mig=False,
    ecc=True,
    power_w=100.0,
    power_limit_w=700.0,
    power_limit_default_w=700.0,
    sm_clock_mhz=1980,
    sm_clock_max_mhz=1980,
    slowed_by=(),
    processes=0,
)


class Library:
    """C functions that fill in what they are handed, of one GPU: whole, or with one slice."""

    def __init__(
        self,
        *,
        uuid: str = UUID,
        mig: int = 0,
        ecc: int = 1,
        reasons: int = 0,
        power_limit_mw: int = 700_000,
        used: int = 3 * GIB,
        processes: Sequence[tuple[int, int | None]] = (),
        refuses: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.uuid, self.mig, self.ecc, self.reasons = uuid, mig, ecc, reasons
        self.power_limit_mw = power_limit_mw
        self.used, self.processes = used, processes
        self.refuses = refuses
        self.asked_for: list[str] = []
        self.memory_of: int | None = None
        self.clock_of: int | None = None
        self.started = 0
        self.shut_down = 0

    def __getattr__(self, name: str) -> Any:
        if name in self.refuses:
            return lambda *_: self.refuses[name]
        if name not in _FUNCTIONS:
            raise AttributeError(name)
        return lambda *arguments: _FUNCTIONS[name](self, *arguments)


FakeNvml = Callable[..., Library]
"""Puts a library where pynvml keeps the real one; it takes what `Library` takes."""


def _target(argument: Any) -> Any:
    """Return what a byref or pointer argument refers to."""
    return argument._obj if hasattr(argument, "_obj") else argument


def _address(handle: Any) -> ctypes.c_void_p:
    """Return a handle as the pointer that it is, to read or to set."""
    return ctypes.c_void_p.from_buffer(_target(handle))


def _start(library: Library, _flags: Any) -> int:
    library.started += 1
    return SUCCESS


def _shut_down(library: Library) -> int:
    library.shut_down += 1
    return SUCCESS


def _handle_by_uuid(library: Library, uuid: Any, handle: Any) -> int:
    library.asked_for.append(uuid.value.decode())
    if library.asked_for[-1] != library.uuid:
        return NOT_FOUND
    _address(handle).value = SLICE if library.uuid.startswith("MIG-") else WHOLE
    return SUCCESS


def _gpu_of_slice(_library: Library, part: Any, whole: Any) -> int:
    assert _address(part).value == SLICE
    _address(whole).value = WHOLE
    return SUCCESS


def _memory(library: Library, handle: Any, info: Any) -> int:
    library.memory_of = _address(handle).value
    one = _target(info)
    one.total, one.free, one.used = 80 * GIB, 80 * GIB - library.used, library.used
    return SUCCESS


def _processes(library: Library, _handle: Any, count: Any, found: Any) -> int:
    _target(count).value = len(library.processes)
    if library.processes and found is None:
        return TOO_SMALL
    for place, (pid, used) in enumerate(library.processes):
        found[place].pid = pid
        unknown = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
        found[place].usedGpuMemory = unknown if used is None else used
    return SUCCESS


def _mig(library: Library, handle: Any, current: Any, pending: Any) -> int:
    _target(current).value, _target(pending).value = library.mig, 1 - library.mig
    return _of_whole_gpus_alone(handle)


def _ecc(library: Library, _handle: Any, current: Any, pending: Any) -> int:
    _target(current).value, _target(pending).value = library.ecc, 1 - library.ecc
    return SUCCESS


def _power_limit(library: Library, handle: Any, limit_mw: Any) -> int:
    _target(limit_mw).value = library.power_limit_mw
    return _of_whole_gpus_alone(handle)


def _of_whole_gpus_alone(handle: Any) -> int:
    whole = _address(handle).value == WHOLE
    return SUCCESS if whole else NOT_SUPPORTED


def _clock(library: Library, handle: Any, domain: Any, mhz: Any) -> int:
    library.clock_of = _address(handle).value
    assert domain.value == pynvml.NVML_CLOCK_SM
    _target(mhz).value = 1_200
    return SUCCESS


def _reasons(library: Library, _handle: Any, bits: Any) -> int:
    _target(bits).value = library.reasons
    return SUCCESS


def _number(value: int) -> Callable[..., int]:
    """Return a C function that writes a number to its last argument."""

    def fill(_library: Library, *arguments: Any) -> int:
        _target(arguments[-1]).value = value
        return SUCCESS

    return fill


def _text(value: bytes) -> Callable[..., int]:
    """Return a C function that writes a text before its last argument, the text's length."""

    def fill(_library: Library, *arguments: Any) -> int:
        arguments[-2].value = value
        return SUCCESS

    return fill


_FUNCTIONS: dict[str, Callable[..., int]] = {
    "nvmlInitWithFlags": _start,
    "nvmlShutdown": _shut_down,
    "nvmlDeviceGetHandleByUUID": _handle_by_uuid,
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": _gpu_of_slice,
    "nvmlDeviceGetMemoryInfo": _memory,
    "nvmlDeviceGetComputeRunningProcesses_v3": _processes,
    "nvmlDeviceGetName": _text(b"Invented GPU"),
    "nvmlSystemGetDriverVersion": _text(b"580.12"),
    "nvmlDeviceGetMigMode": _mig,
    "nvmlDeviceGetEccMode": _ecc,
    "nvmlDeviceGetPowerUsage": _number(250_000),
    "nvmlDeviceGetEnforcedPowerLimit": _power_limit,
    "nvmlDeviceGetPowerManagementDefaultLimit": _number(700_000),
    "nvmlDeviceGetClockInfo": _clock,
    "nvmlDeviceGetMaxClockInfo": _number(1_980),
    "nvmlDeviceGetCurrentClocksEventReasons": _reasons,
}
