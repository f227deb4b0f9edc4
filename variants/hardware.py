"""What device this is, as a short key: the same key means that measurements may be compared."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16", "sve", "i8mm")


@dataclass(frozen=True)
class Hardware:
    """A device: its key, a name for people, and what the key was made of."""

    key: str
    name: str
    vendor: str
    family: str
    model: str
    stepping: str
    features: tuple[str, ...]
    cores: int


def this_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Hardware:
    """Return this machine's CPU, with the cores this process may use.

    Raises OSError where /proc/cpuinfo can't be read: only Linux is supported.
    """
    text = cpuinfo.read_text()

    def field(*names: str) -> str:
        for name in names:
            if found := re.search(rf"^{name}\s*:\s*(.*)$", text, re.MULTILINE):
                return found.group(1).strip()
        return "unknown"

    flags = set(f"{field('flags', 'Features')}".split())
    features = tuple(feature for feature in _FEATURES if feature in flags)
    vendor = field("vendor_id", "CPU implementer")
    vendor = vendor.removeprefix("Genuine").removeprefix("Authentic").lower()
    family = field("cpu family", "CPU architecture")
    model, stepping = field("model", "CPU part"), field("stepping", "CPU revision")
    cores = usable_cores()
    marks = "-".join(feature.replace("avx512_", "") for feature in features)
    return Hardware(
        key=f"cpu-{vendor}-{family}.{model}.{stepping}-{marks}-{cores}cores",
        name=f"{field('model name')} ({family}.{model}.{stepping}), {cores} cores",
        vendor=vendor,
        family=family,
        model=model,
        stepping=stepping,
        features=features,
        cores=cores,
    )


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may keep busy: its affinity, less any container quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        limit, period = quota.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if limit == "max" else max(1, min(cores, int(limit) // int(period)))
