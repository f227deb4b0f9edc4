"""This device as a short key: measurements under the same key may be compared."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from variants.host.cuda_driver import DriverDevice
from variants.host.nvml_bindings import NoNvml, open_nvml, read

_T = TypeVar("_T")

_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16", "sve", "i8mm")


class Cpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="device", tag="cpu"):
    """A CPU: its key, a name for people, and the parts that the key is made of."""

    key: str
    name: str
    vendor: str
    family: str
    model: str
    stepping: str
    features: tuple[str, ...]
    cores: int


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="device", tag="cuda"):
    """A GPU or a MIG slice: its key, a name for people, the parts of the key, and the host's CPU.

    `power_limit_w` is the limit that the driver enforces on the whole GPU, in watts; None if
    unknown.
    """

    key: str
    name: str
    capability: str
    sms: int
    memory_bytes: int
    l2_bytes: int
    mig: bool
    power_limit_w: int | None
    host: Cpu

    @property
    def cores(self) -> int:
        """Return how many of the host's cores this process may use."""
        return self.host.cores

    @property
    def has_bfloat16(self) -> bool:
        """Whether it computes in bfloat16: compute capability 8.0 or newer.

        Source: the CUDA C++ Programming Guide's table of features by compute capability.
        """
        return float(self.capability) >= 8.0


Hardware = Cpu | Gpu


def this_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """Return this machine's CPU, with the number of cores that this process may use.

    Raises OSError where /proc/cpuinfo can't be read: only Linux is supported.
    """
    text, flags = cpuinfo.read_text(), cpu_flags(cpuinfo)

    def field(*names: str) -> str:
        return _field(text, *names)

    features = tuple(feature for feature in _FEATURES if feature in flags)
    vendor = re.sub("^(Genuine|Authentic)", "", field("vendor_id", "CPU implementer")).lower()
    family = field("cpu family", "CPU architecture")
    model, stepping = field("model", "CPU part"), field("stepping", "CPU revision")
    cores = usable_cores()
    marks = "-".join(feature.replace("avx512_", "") for feature in features)
    key = f"cpu-{vendor}-{family}.{model}.{stepping}-{marks}-{cores}cores"
    return Cpu(
        key=re.sub(r"[^a-z0-9.-]+", "-", key.lower()),
        name=f"{field('model name')} ({family}.{model}.{stepping}), {cores} cores",
        vendor=vendor,
        family=family,
        model=model,
        stepping=stepping,
        features=features,
        cores=cores,
    )


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the names of all that this machine's CPU can do.

    Raises OSError where /proc/cpuinfo can't be read.
    """
    return frozenset(_field(cpuinfo.read_text(), "flags", "Features").split())


def this_gpu(device: DriverDevice) -> Gpu:
    """Return one of this machine's GPUs, with the limits that the driver enforces, and its host.

    Raises OSError where /proc/cpuinfo can't be read.
    """
    nvml_mig, watts = _limits(device.uuid)
    mig = "MIG" in device.name if nvml_mig is None else nvml_mig
    gib = round(device.memory_bytes / 2**30)
    model = re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-") or "unknown"
    marks = [model, f"{device.sms}sm", f"{gib}gib", *["mig"] * mig]
    words = [device.name, f"{device.sms} SMs", f"{gib} GiB"]
    if watts is not None:
        marks.append(f"{watts}w")
        words.append(f"{watts} W")
    return Gpu(
        key="-".join(("cuda", *marks)),
        name=", ".join(words),
        capability=device.capability,
        sms=device.sms,
        memory_bytes=device.memory_bytes,
        l2_bytes=device.l2_bytes,
        mig=mig,
        power_limit_w=watts,
        host=this_cpu(),
    )


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use: its affinity, limited by a container's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        limit, period = quota.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if limit == "max" else max(1, min(cores, int(limit) // int(period)))


def _field(cpuinfo: str, *names: str) -> str:
    """Return what stands behind the first of `names` that there is, or "unknown"."""
    for name in names:
        if match := re.search(rf"^{name}\s*:\s*(.*)$", cpuinfo, re.MULTILINE):
            return match.group(1).strip()
    return "unknown"


def _limits(uuid: str) -> tuple[bool | None, int | None]:
    """Return whether MIG is on, and the power limit in watts; None for what NVML does not give."""
    try:
        with open_nvml() as pynvml:
            return _read_limits(pynvml, uuid)
    except NoNvml:
        return None, None


def _read_limits(pynvml: Any, uuid: str) -> tuple[bool | None, int | None]:
    gpu = _lookup(lambda: pynvml.nvmlDeviceGetHandleByUUID(uuid))
    if gpu is None:
        # Only a whole GPU has a power limit, so look up the GPU of a slice.
        slice_uuid = uuid.replace("GPU-", "MIG-", 1)
        part = _lookup(lambda: pynvml.nvmlDeviceGetHandleByUUID(slice_uuid))
        if part is None:
            return None, None
        gpu = _lookup(lambda: pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part))
    if gpu is None:
        return None, None
    return (
        _lookup(lambda: bool(pynvml.nvmlDeviceGetMigMode(gpu)[0])),
        _lookup(lambda: round(pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000)),
    )


def _lookup(call: Callable[[], _T]) -> _T | None:
    """Return what a call of NVML gives; None where it fails."""
    try:
        return read(call)
    except NoNvml:
        return None
