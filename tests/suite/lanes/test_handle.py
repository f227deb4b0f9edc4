"""The parent's end of a lane that is a process: whose code it runs, and what becomes of it."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from suite.clocks.series import TurnSamples
from suite.conditions.policy import policy
from suite.lanes import handle
from suite.lanes.handle import Handle, LaneFault, Launch, out_of_memory_kills
from suite.lanes.pool import LanePool
from suite.lanes.protocol import Done, FirstCall, Prepare, Slice
from tests.fakes.arena import LAUNCH
from tests.fakes.lane import PlannedFault, environment
from tests.records import a_case
from tests.suite.fates import children
from variants.catalog import BASELINE, Variant

LIMIT_S = 60.0
FIRST = Variant("first", "first")
CASE = a_case(16)
Plant = Callable[..., None]


@pytest.fixture
def with_faults(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Return a function that plants faults in the processes that are started after it."""

    def plant(*faults: PlannedFault) -> None:
        for name, text in environment(faults).items():
            monkeypatch.setenv(name, text)

    return plant


def start_lane(folder: Path, variant: Variant = FIRST, launch: Launch = LAUNCH) -> Handle:
    """Start a lane that computes nothing."""
    return Handle(variant, policy("cpu", 1), folder, launch=launch)


def wait_for_end(process_id: int) -> bool:
    """Wait until a process that was killed has ended; return whether it did."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)
                continue
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("SIGKILL", "crashed", "killed by SIGKILL during FirstCall"),
        ("SIGSEGV", "crashed", "killed by SIGSEGV during FirstCall"),
        ("exit", "crashed", "exited with 7 during FirstCall"),
        ("nonsense", "crashed", "no answer to FirstCall: a Ready"),
        ("failed", "failed", "on demand"),
    ],
)
def test_a_lane_that_goes_wrong_is_ended_and_its_fault_says_how(
    kind: str, status: str, words: str, tmp_path: Path, with_faults: Plant
) -> None:
    with_faults(("first", 16, "FirstCall", kind))
    with start_lane(tmp_path) as lane:
        lane.ask(Prepare(CASE, 0), Done, LIMIT_S)
        with pytest.raises(LaneFault) as fault:
            lane.ask(FirstCall(), Done, LIMIT_S)
        assert not lane.alive
        assert not psutil.pid_exists(lane.process_id)
    assert (fault.value.status, fault.value.step) == (status, "FirstCall")
    assert fault.value.reason.startswith(words)


def test_a_lane_that_hangs_is_killed_at_the_limit(tmp_path: Path, with_faults: Plant) -> None:
    with_faults(("first", 16, "FirstCall", "hang"))
    with start_lane(tmp_path) as lane:
        lane.ask(Prepare(CASE, 0), Done, LIMIT_S)
        with pytest.raises(LaneFault, match=r"FirstCall took over 0.05 s; raise --step-timeout"):
            lane.ask(FirstCall(), Done, limit_s=0.05)
        assert not psutil.pid_exists(lane.process_id)


def test_a_lane_that_declines_a_case_lives_on(tmp_path: Path, with_faults: Plant) -> None:
    with_faults(("first", 16, "Prepare", "unsupported"))
    with start_lane(tmp_path) as lane:
        with pytest.raises(LaneFault) as fault:
            lane.ask(Prepare(CASE, 0), Done, LIMIT_S)
        assert fault.value.status == "unsupported"
        assert lane.alive
        assert lane.ask(Slice(), TurnSamples, LIMIT_S).calls_per_sample == 1


def test_a_pool_has_one_process_for_each_name_until_it_dies_and_none_afterwards(
    tmp_path: Path, with_faults: Plant
) -> None:
    with_faults()
    variants = {name: Variant(name, name) for name in ("first", "second")}
    before = children()
    with LanePool(variants, policy("cpu", 1), tmp_path, launch=LAUNCH) as pool:
        first, second = pool.ready(variants)
        first.end()
        later, same = pool.ready(variants)
        assert same is second
        assert later.process_id != first.process_id
        assert later.ask(FirstCall(), Done, LIMIT_S) == Done(0.0)
        processes = {each.pid for each in children() - before}
        assert processes == {later.process_id, second.process_id}
    assert children() <= before


def test_the_processes_that_a_lane_has_started_end_with_it(tmp_path: Path) -> None:
    note = tmp_path / "child"
    program = f"""
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"])
pathlib.Path({str(note)!r}).write_text(str(child.pid))
"""
    with (
        start_lane(tmp_path, launch=Launch((sys.executable, "-S", "-c", program))) as lane,
        pytest.raises(LaneFault, match="exited with 0 during start"),
    ):
        lane.wait_until_ready()
    assert wait_for_end(int(note.read_text()))


def test_a_lane_s_last_words_are_in_its_fault(tmp_path: Path) -> None:
    program = "print('first line'); raise SystemExit('no torch here')"
    with (
        start_lane(tmp_path, launch=Launch((sys.executable, "-S", "-c", program))) as lane,
        pytest.raises(LaneFault, match="during start; it last said: no torch here"),
    ):
        lane.wait_until_ready()


def test_a_lane_runs_the_code_of_its_folder_though_python_trusts_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    (tmp_path / "only_here.py").write_text("raise SystemExit(12)")
    launch = Launch((sys.executable, "-S", "-m", "only_here"), tmp_path)
    with (
        start_lane(tmp_path, BASELINE, launch) as lane,
        pytest.raises(LaneFault, match="exited with 12"),
    ):
        lane.wait_until_ready()


def test_a_lane_is_told_the_folder_from_which_recordings_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert handle.environment()["ALIBI_BENCH_FOLDER"] == str(tmp_path)


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
