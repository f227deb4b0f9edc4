"""Runs under fault: the guilty cell carries the blame, the rest is measured, nothing is left."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from suite.record import Agreement, Canary, CellRecord, Fault, Limit, Time
from suite.store import read
from tests.fakes.drive import LENGTHS, VARIANTS, drive
from tests.fakes.faulty import MOMENTS
from variants.catalog import BASELINE

ROOT = Path(__file__).parents[2]
STEP_TIMEOUT_S = 8.0


@pytest.fixture(autouse=True)
def no_lane_is_left() -> Iterator[None]:
    """Whatever a test does, no lane outlives it."""
    yield
    deadline = time.monotonic() + 10
    while lanes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lanes() == []


def lanes() -> list[str]:
    """Return the command lines of living lanes that serve this test's processes."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "suite.lane" in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(" ".join(words))
    return [words for words in found if "tests.fakes" in words]


def cells(file: Path) -> dict[tuple[str, int], list[CellRecord]]:
    """Return the records of each (variant, q_len)."""
    found: dict[tuple[str, int], list[CellRecord]] = {}
    for record in read(file).records:
        if isinstance(record, Agreement | Time | Fault):
            found.setdefault((record.variant, record.case.q_len), []).append(record)
    return found


def measured(records: list[CellRecord], heats: int = 1) -> bool:
    """Whether a cell was checked, timed and checked again, in so many heats of a race each."""
    kinds = Counter(type(record).__name__ for record in records)
    races = {record.race for record in records if isinstance(record, Time)}
    return kinds == Counter({"Agreement": 2 * heats, "Time": heats}) and len(races) == heats


def assert_only_the_guilty_cell_suffers(file: Path, heats: int = 1) -> list[CellRecord]:
    """Return the guilty cell's records, once every other cell is known to be measured.

    The baseline is, beside the guilty one, in so many heats.
    """
    found = cells(file)
    assert set(found) == {(variant.name, length) for variant in VARIANTS for length in LENGTHS}
    guilty = found.pop(("second", 24))
    assert measured(found.pop((BASELINE.name, 24)), heats)
    assert all(measured(records) for records in found.values())
    return guilty


def test_a_run_without_faults_measures_every_cell_in_every_pass(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    drive(file, passes=2)
    times = [record for record in read(file).records if isinstance(record, Time)]
    assert Counter((time.variant, time.case.q_len) for time in times) == {
        (variant.name, length): 2 for variant in VARIANTS for length in LENGTHS
    }
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
    ("kind", "moment", "status", "words"),
    [
        ("SIGKILL", "turns", "crashed", "killed by SIGKILL during Slice"),
        ("SIGSEGV", "first call", "crashed", "killed by SIGSEGV during FirstCall"),
        ("exit", "check", "crashed", "exited with 7 during Check"),
        ("hang", "turns", "timed_out", "Slice took over 8 s; raise --step-timeout"),
        ("raise", "prepare", "failed", "RuntimeError: this variant raises on demand"),
        ("raise", "turns", "failed", "RuntimeError: this variant raises on demand"),
        ("memory", "first call", "out_of_memory", "can't allocate memory"),
        ("unsupported", "prepare", "unsupported", "this variant declines on demand"),
    ],
)
def test_a_fault_costs_the_guilty_cell_alone(
    kind: str,
    moment: str,
    status: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert moment in MOMENTS
    plant(monkeypatch, kind, moment)
    file = tmp_path / "run.jsonl"
    drive(file, STEP_TIMEOUT_S)
    again = status == "out_of_memory"
    (fault,) = assert_only_the_guilty_cell_suffers(file, heats=2 if again else 1)
    assert isinstance(fault, Fault)
    assert fault.status == status
    assert words in fault.reason


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A memory cgroup of 256 MiB, where this machine lets tests make one."""
    own = re.search(r"^\d+:memory:(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    folder = Path(f"/sys/fs/cgroup/memory{own[1] if own else ''}", f"alibi-{os.getpid()}")
    try:
        folder.mkdir()
        Path(folder, "memory.limit_in_bytes").write_text("256M")
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield folder
    folder.rmdir()


def test_a_lane_killed_by_the_kernel_for_memory_is_told_from_a_crash(
    small_cgroup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "kernel", "turns")
    monkeypatch.setenv("MEMORY_CGROUP", str(small_cgroup))
    file = tmp_path / "run.jsonl"
    drive(file, STEP_TIMEOUT_S)
    (fault,) = assert_only_the_guilty_cell_suffers(file, heats=2)
    assert isinstance(fault, Fault)
    assert fault.status == "out_of_memory"
    assert fault.reason.startswith("killed by the kernel because memory ran out during Slice")


def test_a_wrong_answer_is_recorded_and_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "nan", "check")
    file = tmp_path / "run.jsonl"
    drive(file)
    (check,) = assert_only_the_guilty_cell_suffers(file)
    assert isinstance(check, Agreement)
    assert not check.agrees


def test_an_answer_that_goes_wrong_after_timing_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "nan", "after")
    file = tmp_path / "run.jsonl"
    drive(file)
    guilty = assert_only_the_guilty_cell_suffers(file)
    checks = [record for record in guilty if isinstance(record, Agreement)]
    assert [(check.stage, check.agrees) for check in checks] == [("before", True), ("after", False)]


def test_a_lane_that_dies_after_timing_keeps_its_samples_and_its_blame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "SIGKILL", "after")
    file = tmp_path / "run.jsonl"
    drive(file)
    guilty = assert_only_the_guilty_cell_suffers(file)
    assert {type(record) for record in guilty} == {Agreement, Fault, Time}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_parent_that_is_stopped_leaves_a_file_that_resumes(
    end: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "hang", "turns")
    file = tmp_path / "run.jsonl"
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.drive", str(file)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: hung(parent))
    parent.send_signal(end)
    parent.wait(timeout=20)
    kept = {key for key, records in cells(file).items() if measured(records)}
    monkeypatch.delenv("FAULT")
    drive(file)
    times = [record for record in read(file).records if isinstance(record, Time)]
    assert Counter((time.variant, time.case.q_len) for time in times) == {
        (variant.name, length): 1 for variant in VARIANTS for length in LENGTHS
    }
    assert kept <= {(time.variant, time.case.q_len) for time in times}


def test_a_run_killed_outright_leaves_a_cache_that_the_next_run_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    plant(monkeypatch, "hang", "first call")
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.drive", str(tmp_path / "killed.jsonl")],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: any(tmp_path.glob("alibi-bench-*")))
    parent.kill()
    parent.wait(timeout=20)
    monkeypatch.delenv("FAULT")
    drive(tmp_path / "next.jsonl")
    assert not list(tmp_path.glob("alibi-bench-*"))


def plant(monkeypatch: pytest.MonkeyPatch, kind: str, moment: str) -> None:
    """Plan a fault for the cell (second, 24)."""
    fault = {"variant": "second", "q_len": 24, "moment": moment, "kind": kind}
    monkeypatch.setenv("FAULT", json.dumps(fault))


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


def test_every_lane_is_the_first_to_go_when_memory_runs_out(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.drive", str(file)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: file.exists() and any(isinstance(r, Canary) for r in read(file).records))
        scores = [
            Path(f"/proc/{child.pid}/oom_score_adj").read_text().strip()
            for child in psutil.Process(parent.pid).children()
        ]
        assert scores == ["1000"] * len(VARIANTS)
    finally:
        parent.kill()
        parent.wait(timeout=20)
