"""The circumstances of a run: its policy, its code and what surrounds it."""

import hashlib
import os
import platform
import subprocess
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]

# glibc moves both thresholds as buffers come and go, so a call's cost depends on what ran before.
# Fixed at the most it would move to: larger buffers are mapped afresh, smaller ones are kept.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


class Policy(msgspec.Struct, frozen=True):
    """How a run measures; runs with different policies are not compared."""

    threads: int
    malloc: dict[str, str]
    omp_wait_policy: str
    clock: str


class Circumstances(msgspec.Struct, frozen=True):
    """What may explain a difference later, and forbids no comparison."""

    python: str
    kernel: str
    container: bool
    governor: str
    load_1m: float
    commit: str
    uncommitted: bool
    affinity: tuple[int, ...] = ()
    gpu: dict[str, str] = {}


def policy(device: str, cores: int) -> Policy:
    """Return the policy of a run on `device`, whose host has so many cores for it."""
    on_cuda = device != "cpu"
    return Policy(
        threads=cores,
        malloc=MALLOC,
        omp_wait_policy=os.environ.get("OMP_WAIT_POLICY", "default"),
        clock="cuda, cold L2, the larger of device and issue" if on_cuda else "cpu, hot caches",
    )


def circumstances(gpu: dict[str, str]) -> Circumstances:
    """Return what surrounds a run; `gpu` is what the driver says of one, by name."""
    commit, uncommitted = _code()
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return Circumstances(
        python=platform.python_version(),
        kernel=platform.release(),
        container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        governor=governor.read_text().strip() if governor.exists() else "unknown",
        load_1m=round(os.getloadavg()[0], 2),
        commit=commit,
        uncommitted=uncommitted,
        affinity=tuple(sorted(os.sched_getaffinity(0))),
        gpu=gpu,
    )


def _code() -> tuple[str, bool]:
    try:
        commit = _git("rev-parse", "HEAD").strip()
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.CalledProcessError):
        return f"tree-{_digest()}", False


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True)
    return done.stdout


def _digest() -> str:
    """Return a digest of all that a lane may run: suite's Python, variants' Python and C++."""
    digest = hashlib.blake2b(digest_size=10)
    for file in sorted(
        file
        for folder in ("suite", "variants")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in {".py", ".cpp", ".h"}
    ):
        digest.update(file.read_bytes())
    return digest.hexdigest()
