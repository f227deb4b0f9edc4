"""Runs under fault: the guilty cell carries the blame, and the rest is measured."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from suite.records.record import Agreement, CellRecord, Fault, Status, Time
from tests.fakes import faulty
from tests.fakes.drive import VARIANTS, drive, plan
from tests.fakes.faulty import KINDS, MOMENTS
from tests.fakes.in_process import start_real_lanes_in_process, take_few_turns
from tests.fakes.lane import Fate
from tests.suite.fates import OWNER, cells, is_measured, processes_of
from variants.catalog import BASELINE

STEP_TIMEOUT_S = 60.0

pytestmark = pytest.mark.timeout(1800)

Cells = dict[tuple[str, int], list[CellRecord]]


class FaultCase(NamedTuple):
    """A fault of the variant `second`, and what the file is to say of it."""

    kind: str
    moment: str
    status: Status
    words: str


FAULTS = [
    FaultCase("SIGKILL", "turns", "crashed", "killed by SIGKILL during Slice"),
    FaultCase("SIGSEGV", "first call", "crashed", "killed by SIGSEGV during FirstCall"),
    FaultCase("exit", "check", "crashed", "exited with 7 during Check"),
    FaultCase("hang", "turns", "timed_out", "Slice took over 60 s; raise --step-timeout"),
    FaultCase("raise", "prepare", "failed", "RuntimeError: this variant raises on demand"),
    FaultCase("raise", "turns", "failed", "RuntimeError: this variant raises on demand"),
    FaultCase("memory", "first call", "out_of_memory", "can't allocate memory"),
    FaultCase("unsupported", "prepare", "unsupported", "this variant declines on demand"),
]
AT = dict(enumerate(FAULTS, start=16))
"""Every fault has a case of its own, named by its length, in one run of them all."""
WRONG_AT_ONCE, WRONG_LATER, DEAD_LATER, KILLED_BY_THE_KERNEL, NOTHING = range(100, 105)
OTHERS = {
    WRONG_AT_ONCE: ("check", "nan"),
    WRONG_LATER: ("after", "nan"),
    DEAD_LATER: ("after", "SIGKILL"),
}


OF_PROCESSES = [
    *(length for length, fault in AT.items() if fault.kind in {"SIGKILL", "SIGSEGV", "exit"}),
    *(WRONG_AT_ONCE, DEAD_LATER),
]
"""What a process does in another way than a thread, and a wrong answer beside it.

One that hangs would take its whole minute; tests/suite/lanes/test_handle.py has one with a second.
"""


@contextmanager
def small_cgroup() -> Iterator[Path | None]:
    """Make a memory cgroup of 256 MiB, where this machine lets tests make one."""
    own = re.search(r"^\d+:memory:(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    folder = Path(f"/sys/fs/cgroup/memory{own[1] if own else ''}", f"alibi-{os.getpid()}")
    try:
        folder.mkdir()
        Path(folder, "memory.limit_in_bytes").write_text("256M")
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        folder.rmdir()


def run_with_faults(folder: Path, *, in_threads: bool) -> Cells:
    """Return what became of each cell of one run with all faults that this machine can have.

    The lanes are threads or processes, and of the latter none is left afterwards.
    """
    faults = {length: (fault.moment, fault.kind) for length, fault in AT.items()} | OTHERS
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        monkeypatch.setenv(OWNER, str(folder))
        if in_threads:
            start_real_lanes_in_process(monkeypatch)
            monkeypatch.setattr(faulty, "meet", _raise)
        else:
            take_few_turns(monkeypatch)
            faults = {length: faults[length] for length in OF_PROCESSES}
            cgroup = stack.enter_context(small_cgroup())
            if cgroup is not None:
                faults[KILLED_BY_THE_KERNEL] = ("turns", "kernel")
                monkeypatch.setenv("MEMORY_CGROUP", str(cgroup))
        assert all(moment in MOMENTS and kind in KINDS for moment, kind in faults.values())
        monkeypatch.setenv("PLANTED", json.dumps({"second": faults}))
        drive(folder / "run.jsonl", plan(STEP_TIMEOUT_S, passes=1, lengths=[*faults, NOTHING]))
    assert processes_of(str(folder)) == []
    return cells(folder / "run.jsonl")


@pytest.fixture(scope="module")
def cells_of_run(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Return the cells of a run whose lanes are threads."""
    return run_with_faults(tmp_path_factory.mktemp("faults"), in_threads=True)


def _raise(fate: Fate) -> NoReturn:
    raise fate


def records_at_fault(by_cell: Cells, length: int, heats: int = 1) -> list[CellRecord]:
    """Return the records of the cell at fault, once the others of its case are known to be well.

    The baseline raced beside it in so many heats.
    """
    assert is_measured(by_cell[BASELINE.name, length], heats)
    assert is_measured(by_cell["first", length])
    return by_cell["second", length]


@pytest.mark.parametrize("length", AT, ids=lambda at: f"{AT[at].kind} at {AT[at].moment}")
def test_a_fault_costs_the_guilty_cell_alone(length: int, cells_of_run: Cells) -> None:
    wanted = AT[length]
    (fault,) = records_at_fault(
        cells_of_run, length, heats=2 if wanted.status == "out_of_memory" else 1
    )
    assert isinstance(fault, Fault)
    assert fault.status == wanted.status
    assert wanted.words in fault.reason


def test_after_all_faults_a_case_without_one_is_measured_whole(cells_of_run: Cells) -> None:
    assert {(one.name, length) for one in VARIANTS for length in (*AT, *OTHERS)} <= set(
        cells_of_run
    )
    assert is_measured(records_at_fault(cells_of_run, NOTHING))


def test_a_wrong_answer_is_recorded_and_not_timed(cells_of_run: Cells) -> None:
    (check,) = records_at_fault(cells_of_run, WRONG_AT_ONCE)
    assert isinstance(check, Agreement)
    assert not check.agrees


def test_an_answer_that_goes_wrong_after_timing_is_caught(cells_of_run: Cells) -> None:
    checks = [
        record
        for record in records_at_fault(cells_of_run, WRONG_LATER)
        if isinstance(record, Agreement)
    ]
    assert [(check.stage, check.agrees) for check in checks] == [("before", True), ("after", False)]


def test_a_lane_that_dies_after_timing_keeps_its_samples_and_its_blame(cells_of_run: Cells) -> None:
    kinds = {type(record) for record in records_at_fault(cells_of_run, DEAD_LATER)}
    assert kinds == {Agreement, Fault, Time}


@pytest.mark.long
@pytest.mark.heavy
def test_what_holds_of_threads_holds_of_processes(tmp_path: Path) -> None:
    by_cell = run_with_faults(tmp_path, in_threads=False)
    for length in AT.keys() & OF_PROCESSES:
        test_a_fault_costs_the_guilty_cell_alone(length, by_cell)
    test_a_wrong_answer_is_recorded_and_not_timed(by_cell)
    test_a_lane_that_dies_after_timing_keeps_its_samples_and_its_blame(by_cell)
    assert is_measured(records_at_fault(by_cell, NOTHING))
    if ("second", KILLED_BY_THE_KERNEL) in by_cell:  # where a memory cgroup could be made
        assert_the_kernel_is_told_from_a_crash(by_cell)


def assert_the_kernel_is_told_from_a_crash(by_cell: Cells) -> None:
    (fault,) = records_at_fault(by_cell, KILLED_BY_THE_KERNEL, heats=2)
    assert isinstance(fault, Fault)
    assert fault.status == "out_of_memory"
    assert fault.reason.startswith("killed by the kernel because memory ran out during Slice")
