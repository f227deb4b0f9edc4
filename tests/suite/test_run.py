"""A run measures every cell in every pass; one that is stopped resumes and leaves nothing."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from suite.lanes.protocol import FindLimits, LaneAnswer, Step
from suite.records.record import Canary, Limit, Time
from suite.records.store import read
from tests.fakes.drive import LENGTHS, NAMES, drive, plan
from tests.fakes.in_process import (
    Answer,
    believe_invented_times,
    invented_lanes,
    start_invented_lanes_in_process,
    start_lanes_in_process,
    start_real_lanes_in_process,
)
from tests.fakes.lane import wrong_answer
from tests.suite.fates import ROOT
from variants.catalog import Variant

pytestmark = pytest.mark.usefixtures("no_lane_is_left")

Cell = tuple[str, int]


def begin(file: Path, *names: str) -> "subprocess.Popen[bytes]":
    """Start a run of some variants in a process of its own, whose lanes are processes too."""
    words = [sys.executable, "-m", "tests.fakes.drive", str(file), *names]
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)


def times_of(file: Path) -> Counter[Cell]:
    """Return how often each (variant, q_len) was timed."""
    times = [record for record in read(file).records if isinstance(record, Time)]
    return Counter((time.variant, time.case.q_len) for time in times)


def each_cell(times: int, names: tuple[str, ...] = NAMES) -> Counter[Cell]:
    """Return every (variant, q_len), so many times."""
    return Counter({(name, length): times for name in names for length in LENGTHS})


def test_a_run_measures_every_cell_in_every_pass_with_fresh_lanes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start_invented_lanes_in_process(monkeypatch)
    file = tmp_path / "run.jsonl"
    drive(file, plan(60.0, passes=2))
    assert times_of(file) == each_cell(2)
    assert set(Counter(started).values()) == {2}
    records = read(file).records
    canaries = [record for record in records if isinstance(record, Canary)]
    assert [(one.pass_number, one.what, one.median_ms) for one in canaries] == [
        (number, "an invented product", 1.0) for number in (1, 2)
    ]
    limits = [record for record in records if isinstance(record, Limit)]
    assert [(one.pass_number, one.dtype, one.flops_per_s, one.bytes_per_s) for one in limits] == [
        (number, "float32", 1e12, 1e10) for number in (1, 2)
    ]


@pytest.mark.parametrize(("kind", "reason"), [("hang", "took over 60 s"), ("failed", "on demand")])
def test_a_pass_that_could_not_measure_the_devices_rates_says_so(
    kind: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before_any_case = 0
    broken = [("tests.fakes.baseline", before_any_case, "FindLimits", kind)]
    start_invented_lanes_in_process(monkeypatch, broken)
    file = tmp_path / "run.jsonl"
    drive(file, plan(60.0, passes=1))
    assert times_of(file) == each_cell(1)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "rates" in line]
    assert line.startswith("pass 1: the device's rates are not known (")
    assert reason in line
    assert line.endswith("; no time is held against what the device can do")


def test_a_later_pass_without_rates_is_held_against_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = 0

    def make_lane(variant: Variant, device: str) -> Answer:
        good = invented_lanes()(variant, device)

        def answer(step: Step) -> LaneAnswer:
            nonlocal asked
            asked += isinstance(step, FindLimits)
            if isinstance(step, FindLimits) and asked == 2:
                return wrong_answer("failed")
            return good(step)

        return answer

    believe_invented_times(monkeypatch)
    start_lanes_in_process(monkeypatch, make_lane)
    drive(tmp_path / "run.jsonl", plan(60.0, passes=2))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "rates" in line]
    assert line.startswith("pass 2: ")
    assert line.endswith("; times are held against those of an earlier pass")


def test_a_cell_whose_kernels_can_not_be_named_says_that_its_time_is_held_against_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [("tests.fakes.second", LENGTHS[0], "NameKernels", "failed")]
    start_invented_lanes_in_process(monkeypatch, broken)
    file = tmp_path / "run.jsonl"
    drive(file, plan(60.0, passes=1))
    assert times_of(file) == each_cell(1)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "profile" in line]
    assert line == (
        f"n{LENGTHS[0]}-h2-d8-float32 second: no profile of a call (on demand), so its kernels are "
        "not named and its time is not held against what the device can do"
    )


def test_a_run_that_lacks_some_cells_measures_them_and_the_baseline_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.jsonl"
    broken = [("tests.fakes.second", 24, "Slice", "exit")]
    start_invented_lanes_in_process(monkeypatch, broken)
    drive(file, plan(60.0, passes=1))
    complete = read(file).records
    kept = [one for one in complete if getattr(one, "variant", "") != "second"]
    partial = tmp_path / "partial.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    partial.write_bytes(
        b"".join(line for line, one in zip(lines, complete, strict=True) if one in kept)
    )
    started = start_invented_lanes_in_process(monkeypatch)
    drive(partial, plan(60.0, passes=1))
    assert times_of(partial) == each_cell(1) + Counter({("no_bias", n): 1 for n in LENGTHS})
    assert sorted(started) == ["tests.fakes.baseline", "tests.fakes.second"]


@pytest.mark.heavy
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_leaves_a_file_that_resumes_and_then_no_cache(
    end: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PLANTED", json.dumps({"second": {24: ("turns", "hang")}}))
    monkeypatch.setenv("HUNG", str(tmp_path / "hung"))
    file = tmp_path / "run.jsonl"
    names = ("second",)
    parent = begin(file, *names)
    try:
        wait_for((tmp_path / "hung").exists)
        lanes = psutil.Process(parent.pid).children()
        first_to_go = [
            Path(f"/proc/{lane.pid}/oom_score_adj").read_text().strip() for lane in lanes
        ]
        parent.send_signal(end)
        parent.wait(timeout=120)
    finally:
        parent.kill()
    assert first_to_go == ["1000"]
    assert bool(list(tmp_path.glob("alibi-bench-*"))) == (end == signal.SIGKILL)
    kept = read(file).records
    monkeypatch.delenv("PLANTED")
    start_real_lanes_in_process(monkeypatch)
    drive(file, plan(60.0, passes=1, names=names))
    assert times_of(file) == each_cell(1, names)
    assert read(file).records[: len(kept)] == kept
    assert not list(tmp_path.glob("alibi-bench-*"))


@pytest.mark.long
@pytest.mark.heavy
def test_a_run_whose_lanes_are_processes_measures_every_cell_and_the_machine(
    tmp_path: Path,
) -> None:
    file = tmp_path / "run.jsonl"
    assert begin(file, *NAMES).wait(timeout=240) == 0
    assert times_of(file) == each_cell(1)
    (canary,) = (record for record in read(file).records if isinstance(record, Canary))
    assert canary.median_ms > 0
    (limit,) = (record for record in read(file).records if isinstance(record, Limit))
    assert limit.dtype == "float32"
    assert min(limit.flops_per_s, limit.bytes_per_s) > 0


def wait_for(condition: Callable[[], bool], limit_s: float = 240) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
