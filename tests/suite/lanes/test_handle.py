"""The parent's end of a lane: whose code it runs, and what it reads of the kernel's kills."""

import sys
from pathlib import Path

import pytest

from suite.conditions.policy import policy
from suite.lanes.handle import Handle, LaneFault, Launch, out_of_memory_kills
from variants.catalog import BASELINE


def test_a_lane_runs_the_code_of_its_folder_though_python_trusts_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    (tmp_path / "only_here.py").write_text("raise SystemExit(12)")
    launch = Launch((sys.executable, "-m", "only_here"), tmp_path)
    lane = Handle(BASELINE, policy("cpu", 1), tmp_path, launch=launch)
    with lane, pytest.raises(LaneFault, match="exited with 12"):
        lane.wait_until_ready()


def test_kills_for_memory_are_counted_from_the_kernels_own_counter(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 10\noom_kill 3\npgfault 7\n")
    assert out_of_memory_kills(counters) == 3


def test_a_kernel_without_the_counter_counts_none(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 10\n")
    assert out_of_memory_kills(counters) == 0
    assert out_of_memory_kills() >= 0


def test_a_kernel_without_counters_counts_none(tmp_path: Path) -> None:
    assert out_of_memory_kills(tmp_path / "none") == 0
