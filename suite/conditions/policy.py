"""The policy of a run, which must be equal to compare runs, and circumstances, which need not."""

import os
import platform
from pathlib import Path

import msgspec

from suite.conditions.measured_code import measured_code
from suite.conditions.unit import unit

ROOT = Path(__file__).resolve().parents[2]

# glibc adapts both thresholds to the buffers that are freed, so a call's time would depend on what
# ran before it. Here they are fixed at the largest values that glibc adapts to: larger buffers are
# mapped anew for each use, smaller ones stay in the heap.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


INPUT_SETS = 2
"""How many sets of inputs timed calls go through in turn (suite.agreement.rotation)."""


class Policy(msgspec.Struct, frozen=True):
    """How a run measures. Runs with different policies are not compared."""

    threads: int
    malloc: dict[str, str]
    omp_wait_policy: str
    clock: str
    input_sets: int = 1


class Circumstances(msgspec.Struct, frozen=True):
    """Facts that may explain a difference between runs, but forbid no comparison.

    `code_digest` is that of `suite/` and `variants/` where there are uncommitted changes, else
    empty. It is empty in files that were written before it existed too. `unit` tells devices of one
    hardware key apart (suite.conditions.unit); it too is empty in older files.
    """

    python: str
    kernel: str
    container: bool
    governor: str
    load_1m: float
    commit: str
    uncommitted: bool
    affinity: tuple[int, ...] = ()
    gpu: dict[str, str] = {}
    code_digest: str = ""
    unit: str = ""

    @property
    def code(self) -> str:
        """The code that measured, in words. Equal words mean the same code.

        Two trees with uncommitted changes and no digest can't be told apart and count as the same.
        """
        if self.commit.startswith("tree-"):
            return f"code {self.commit}"
        commit = f"commit {self.commit[:12]}"
        if not self.uncommitted:
            return commit
        digest = f" ({self.code_digest})" if self.code_digest else ""
        return f"{commit} with uncommitted changes{digest}"


def policy(device: str, cores: int) -> Policy:
    """Return the policy of a run on `device`, whose host has `cores` usable cores."""
    on_cuda = device != "cpu"
    return Policy(
        threads=cores,
        malloc=MALLOC,
        omp_wait_policy=os.environ.get("OMP_WAIT_POLICY", "default"),
        clock="cuda, cold L2, the larger of device and issue" if on_cuda else "cpu, hot caches",
        input_sets=INPUT_SETS,
    )


def circumstances(gpu: dict[str, str], uuid: str | None = None) -> Circumstances:
    """Return a run's circumstances; `gpu` has the figures of the GPU `uuid` by name."""
    code = measured_code()
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return Circumstances(
        python=platform.python_version(),
        kernel=platform.release(),
        container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        governor=governor.read_text().strip() if governor.exists() else "unknown",
        load_1m=round(os.getloadavg()[0], 2),
        commit=code.commit,
        uncommitted=code.uncommitted,
        affinity=tuple(sorted(os.sched_getaffinity(0))),
        gpu=gpu,
        code_digest=code.digest if code.uncommitted else "",
        unit=unit(uuid),
    )
