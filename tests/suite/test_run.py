"""A run measures every cell in every pass; one that is stopped resumes and leaves nothing."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from suite.records.record import Canary, Limit, Time
from suite.records.store import read
from tests.fakes.drive import LENGTHS, VARIANTS, drive
from tests.suite.fates import ROOT

pytestmark = pytest.mark.usefixtures("no_lane_is_left")


def begun(file: Path, passes: int = 1) -> "subprocess.Popen[bytes]":
    """Start a run in a process of its own."""
    words = [sys.executable, "-m", "tests.fakes.drive", str(file), str(passes)]
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)


def times_of(file: Path) -> Counter[tuple[str, int]]:
    """Return how often each (variant, q_len) was timed."""
    times = [record for record in read(file).records if isinstance(record, Time)]
    return Counter((time.variant, time.case.q_len) for time in times)


def each_cell(times: int) -> Counter[tuple[str, int]]:
    """Return every (variant, q_len), so many times."""
    return Counter({(one.name, length): times for one in VARIANTS for length in LENGTHS})


def test_a_run_measures_every_cell_in_every_pass_and_its_lanes_are_the_first_to_go(
    tmp_path: Path,
) -> None:
    file = tmp_path / "run.jsonl"
    parent = begun(file, passes=2)
    try:
        wait_for(lambda: file.exists() and any(isinstance(r, Canary) for r in read(file).records))
        scores = [
            Path(f"/proc/{child.pid}/oom_score_adj").read_text().strip()
            for child in psutil.Process(parent.pid).children()
        ]
        assert parent.wait(timeout=120) == 0
    finally:
        parent.kill()
        parent.wait(timeout=20)
    assert scores == ["1000"] * len(VARIANTS)
    assert times_of(file) == each_cell(2)
    canaries = [record for record in read(file).records if isinstance(record, Canary)]
    assert [canary.pass_number for canary in canaries] == [1, 2]
    assert all(canary.median_ms > 0 for canary in canaries)
    limits = [record for record in read(file).records if isinstance(record, Limit)]
    assert [(limit.pass_number, limit.dtype) for limit in limits] == [
        (1, "float32"),
        (2, "float32"),
    ]
    assert all(limit.flops_per_s > 1e9 and limit.bytes_per_s > 1e8 for limit in limits)


@pytest.mark.parametrize(
    "end", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.heavy)]
)
def test_a_run_that_is_stopped_leaves_a_file_that_resumes_and_then_no_cache(
    end: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PLANTED", json.dumps({"second": {24: ("turns", "hang")}}))
    file = tmp_path / "run.jsonl"
    parent = begun(file)
    wait_for(lambda: hung(parent))
    parent.send_signal(end)
    parent.wait(timeout=20)
    assert bool(list(tmp_path.glob("alibi-bench-*"))) == (end == signal.SIGKILL)
    kept = read(file).records
    monkeypatch.delenv("PLANTED")
    drive(file)
    assert times_of(file) == each_cell(1)
    assert read(file).records[: len(kept)] == kept
    assert not list(tmp_path.glob("alibi-bench-*"))


def hung(parent: "subprocess.Popen[bytes]") -> bool:
    """Whether a lane of `parent` has slept through half a second."""
    children = psutil.Process(parent.pid).children(recursive=True)
    before = [child.cpu_times().user for child in children]
    time.sleep(0.5)
    return bool(before) and before == [child.cpu_times().user for child in children]


def wait_for(condition: object, limit_s: float = 60) -> None:
    """Wait until a condition holds."""
    assert callable(condition)
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
