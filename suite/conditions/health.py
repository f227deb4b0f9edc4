"""Troubles of this machine that spoil measurements, each with a remedy."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from suite.conditions.nvml import Absent, GpuState
from variants.host.hardware import Gpu, Hardware
from variants.host.nvml_bindings import REMEDY, NoNvml, bindings

BUSY_SHARE = 0.1
WATCH_S = 0.5
LOW_MEMORY = 2 << 30

_DEBUG_PREFIXES = ("TORCH_LOGS", "TORCH_COMPILE_DEBUG", "TORCHDYNAMO_", "TORCHINDUCTOR_", "MALLOC_")
_DEBUG_NAMES = (
    "CUDA_LAUNCH_BLOCKING",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "PYTORCH_JIT",
    "LD_PRELOAD",
    "OMP_WAIT_POLICY",
    "PYTHONMALLOC",
)
_NVML_FUNCTIONS = ("nvmlInit", "nvmlDeviceGetCurrentClocksEventReasons")


class Trouble(NamedTuple):
    """A trouble in words, and what would help."""

    what: str
    help: str


def troubles(
    hardware: Hardware, environment: Mapping[str, str], gpu: GpuState | Absent
) -> list[Trouble]:
    """Return the troubles of CPU, memory, environment, compiler and GPU; takes half a second.

    In that time it measures how busy the cores are.
    """
    return [
        *load_trouble(psutil.cpu_percent(WATCH_S) / 100, hardware.cores),
        *memory_trouble(psutil.virtual_memory().available),
        *governor_trouble(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        *environment_troubles(environment, hardware.cores),
        *compiler_trouble(environment.get("CXX", "g++")),
        *bfloat16_trouble(hardware),
        *(() if isinstance(gpu, Absent) else gpu_troubles(gpu)),
        *bindings_trouble(),
    ]


def load_trouble(share: float, cores: int) -> Iterator[Trouble]:
    """Yield a trouble if over 10% of the cores are busy before anything is measured."""
    if share > BUSY_SHARE:
        yield Trouble(
            f"the machine is busy: {share:.0%} of {cores} cores are in use",
            "stop what else is running (top shows it), or run more --passes",
        )


def memory_trouble(available: int) -> Iterator[Trouble]:
    """Yield a trouble if less than 2 GiB of memory are available."""
    if available < LOW_MEMORY:
        yield Trouble(
            f"only {available / 2**30:.1f} GiB of memory are free",
            "close programs, or expect long lengths to be skipped",
        )


def governor_trouble(file: Path) -> Iterator[Trouble]:
    """Yield a trouble if the CPU governor changes clocks with the load."""
    if file.exists() and (governor := file.read_text().strip()) != "performance":
        yield Trouble(
            f"the CPU governor is {governor}, so clocks move with the load",
            "cpupower frequency-set --governor performance",
        )


def environment_troubles(environment: Mapping[str, str], cores: int) -> Iterator[Trouble]:
    """Yield environment variables that slow torch down, or that set another thread count."""
    for name in sorted(environment):
        if name.startswith(_DEBUG_PREFIXES) or name in _DEBUG_NAMES:
            yield Trouble(f"{name}={environment[name]} changes what is measured", f"unset {name}")
    threads = environment.get("OMP_NUM_THREADS")
    if threads is not None and threads != str(cores):
        yield Trouble(
            f"OMP_NUM_THREADS={threads}, and lanes use {cores} threads, one a usable core",
            "unset OMP_NUM_THREADS; taskset limits the cores that lanes use",
        )


def compiler_trouble(compiler: str) -> Iterator[Trouble]:
    """Yield a trouble if there is no C++ compiler."""
    if shutil.which(compiler) is None:
        yield Trouble(f"no C++ compiler: {compiler} is not on the PATH", "apt-get install g++")


def bindings_trouble() -> Iterator[Trouble]:
    """Yield a trouble if the module pynvml is missing, or is that of another package."""
    try:
        pynvml = bindings()
    except NoNvml as error:
        yield Trouble("power, clocks and memory of a GPU can't be read", str(error))
        return
    lacking = [name for name in _NVML_FUNCTIONS if not hasattr(pynvml, name)]
    if lacking:
        yield Trouble(
            f"the module pynvml has no {', '.join(lacking)}, so a GPU is not read in full",
            REMEDY,
        )


def bfloat16_trouble(hardware: Hardware) -> Iterator[Trouble]:
    """Yield a trouble on a GPU that only emulates bfloat16."""
    if isinstance(hardware, Gpu) and not hardware.has_bfloat16:
        yield Trouble(
            f"this GPU (compute capability {hardware.capability}) only emulates bfloat16, "
            "so sweeps and models are measured in float16",
            "nothing needs to be done; --dtypes bfloat16 measures the emulation",
        )


def gpu_troubles(gpu: GpuState) -> Iterator[Trouble]:
    """Yield what slows a GPU down, or shares it, or makes its clock vary."""
    if isinstance(gpu.processes, int) and gpu.processes > 0:
        yield Trouble(
            f"{gpu.processes} other processes hold the GPU", "nvidia-smi names them; stop them"
        )
    if (
        not isinstance(gpu.power_limit_w, Absent)
        and not isinstance(gpu.power_limit_default_w, Absent)
        and gpu.power_limit_w < gpu.power_limit_default_w
    ):
        yield Trouble(
            f"the power limit is {gpu.power_limit_w:.0f} W of {gpu.power_limit_default_w:.0f} W",
            "nvidia-smi -pl raises it, where you may",
        )
    if not isinstance(gpu.slowed_by, Absent) and gpu.slowed_by:
        yield Trouble(
            f"the GPU's clocks are held down: {', '.join(gpu.slowed_by)}",
            "let it cool, or give it power; throttled turns are not to be trusted",
        )
    if (
        not isinstance(gpu.sm_clock_mhz, Absent)
        and not isinstance(gpu.sm_clock_max_mhz, Absent)
        and gpu.sm_clock_mhz < gpu.sm_clock_max_mhz
    ):
        yield Trouble(
            f"the SM clock is not locked ({gpu.sm_clock_mhz} of {gpu.sm_clock_max_mhz} MHz now)",
            "nvidia-smi -lgc locks it, where you may; clocks are recorded either way",
        )
    if gpu.mig is True:
        yield Trouble(
            "MIG is on: this is a slice of a GPU",
            "compare only with the same slice of the same GPU",
        )
