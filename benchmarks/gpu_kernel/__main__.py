"""The first ten minutes of triton_window on a GPU, in one command; `make gpu-kernel` runs it.

    python -m benchmarks.gpu_kernel --minutes 9 --out results/gpu-kernel
    TRITON_INTERPRET=1 python -m benchmarks.gpu_kernel --out /tmp/x    # at toy size, no GPU
    python -m benchmarks.gpu_kernel --only "search for tiles" --minutes 15 --out results/tiles

It writes a folder: agreement.txt, measurements.jsonl (a line as soon as it is measured), summary.md
and, where compute-sanitizer is found, sanitizer.txt. What no time is left for is a line that says
so. Times are medians of triton.testing.do_bench, which clears the L2 cache before each call.
Predictions are those of a cost model that was made without a GPU: times over bias-free SDPA.

The search for tiles comes last. It writes a file to the user's cache folder, from which launches
take their tiles from then on, until the kernels or Triton change.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu_kernel.calls import ON_GPU, Measurement, Take
from benchmarks.gpu_kernel.experiments import experiments
from benchmarks.gpu_kernel.summary import header, summary

ROOT = Path(__file__).parents[2]
TESTS_S = 200.0  # agreement and counts, of all
SANITIZER_S = 60.0
NO_TIME = "no time was left"


def main() -> None:
    """Do everything, the most telling first, until the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="time for all of it (default 9)")
    parser.add_argument("--out", type=Path, required=True, help="a folder; it is made")
    parser.add_argument("--only", choices=list(experiments(0.0)), help="one experiment, no tests")
    given = parser.parse_args()
    ends_at = time.monotonic() + 60 * given.minutes
    if not ON_GPU and os.environ.get("TRITON_INTERPRET") != "1":
        parser.exit(2, "Error: torch finds no GPU; TRITON_INTERPRET=1 rehearses without one\n")
    given.out.mkdir(parents=True, exist_ok=True)
    agrees = bool(given.only) or agreement(
        given.out / "agreement.txt", min(TESTS_S, 30 * given.minutes)
    )
    chosen = {
        name: takes
        for name, takes in experiments(
            ends_at - 10 if given.only else ends_at - SANITIZER_S
        ).items()
        if given.only in {None, name}
    }
    about = header()
    found = list(measure(given.out / "measurements.jsonl", chosen, about, ends_at))
    (given.out / "summary.md").write_text(summary(found, about))
    if not given.only:
        sanitize(given.out / "sanitizer.txt", ends_at)
    print((given.out / "summary.md").read_text())
    parser.exit(0 if agrees else 1, "" if agrees else "Error: it disagrees: see agreement.txt\n")


def agreement(path: Path, limit_s: float) -> bool:
    """Run the tests for GPUs, write what they say, and return whether all passed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=line"]
    passed = _run([*command, "tests/variants/triton/on_gpu"], path, limit_s)
    print(path.read_text()[-400:], flush=True)
    return passed


def measure(
    path: Path,
    by_experiment: dict[str, Callable[[], Iterator[Take]]],
    about: dict[str, str],
    ends_at: float,
) -> Iterator[Measurement]:
    """Yield each measurement, and write it at once; one that fails is a line with its reason."""
    with path.open("w") as lines:
        lines.write(json.dumps(about) + "\n")
        for experiment, takes in by_experiment.items():
            for take in takes():
                if time.monotonic() > ends_at - 10:
                    done = Measurement("", "", "", note=NO_TIME)
                else:
                    done = _take(take)
                done = done._replace(experiment=experiment)
                lines.write(json.dumps(done._asdict()) + "\n")
                lines.flush()
                yield done
                if done.note == NO_TIME:
                    break


def _take(take: Take) -> Measurement:
    try:
        return take()
    except Exception as error:  # noqa: BLE001 - minutes of a GPU are few: the next one may work
        return Measurement("", "", "failed", note=f"{type(error).__name__}: {error}"[:500])


def sanitize(path: Path, ends_at: float) -> None:
    """Run compute-sanitizer on the batches of any form, if it is there and time is left."""
    tool = shutil.which("compute-sanitizer")
    left = ends_at - time.monotonic()
    if tool is None or left < 15:
        path.write_text(f"not run: {NO_TIME if tool else 'it is not installed'}\n")
        return
    tests = ["tests/variants/triton/on_gpu", "-k", "batches", "-q"]
    _run([tool, sys.executable, "-m", "pytest", *tests], path, min(SANITIZER_S, left))


def _run(command: list[str], path: Path, limit_s: float) -> bool:
    with path.open("w") as out:
        try:
            how: dict[str, Any] = {"cwd": ROOT, "stdout": out, "stderr": subprocess.STDOUT}
            return subprocess.run(command, timeout=limit_s, check=False, **how).returncode == 0
        except subprocess.TimeoutExpired:
            out.write(f"\nstopped after {limit_s:.0f} s\n")
            return False


if __name__ == "__main__":
    main()
