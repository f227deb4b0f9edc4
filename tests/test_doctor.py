"""`doctor` on this machine, with something wrong on purpose."""

import pytest

from tests.fakes.console import bench
from tests.fakes.in_process import start_real_lanes_in_process
from variants.catalog import CATALOG
from variants.host.hardware import this_cpu


def test_the_doctor_names_the_machine_the_variants_and_the_troubles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start_real_lanes_in_process(monkeypatch)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    done = bench("doctor", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert this_cpu().key in done.stdout
    assert all(variant.name in done.stdout for variant in CATALOG)
    assert "apt-get install g++" in done.stdout
    assert "OMP_NUM_THREADS=7" in done.stdout
    assert "-> unset OMP_NUM_THREADS" in done.stdout
    assert "FlexAttention does not support backward" in done.stdout
    assert "compile forward unsupported: torch.compile needs a C++ compiler" in done.stdout
