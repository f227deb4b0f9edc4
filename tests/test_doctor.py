"""`doctor` on this machine, with something wrong on purpose."""

import os
import subprocess
import sys
from pathlib import Path

from variants.catalog import CATALOG
from variants.host.hardware import this_cpu

ROOT = Path(__file__).parents[1]


def test_the_doctor_names_the_machine_the_variants_and_the_troubles() -> None:
    done = subprocess.run(
        [sys.executable, "run_bench.py", "doctor", "--device", "cpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ) | {"CXX": "no-such-compiler", "OMP_NUM_THREADS": "7"},
    )
    assert done.returncode == 0, done.stderr
    assert this_cpu().key in done.stdout
    assert all(variant.name in done.stdout for variant in CATALOG)
    assert "apt-get install g++" in done.stdout
    assert "OMP_NUM_THREADS=7" in done.stdout
    assert "-> unset OMP_NUM_THREADS" in done.stdout
    assert "FlexAttention does not support backward" in done.stdout
    assert "compile forward unsupported: torch.compile needs a C++ compiler" in done.stdout
