"""Jobs go to nodes of their type; what is lost, busy, absent or failing is handled as promised."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import pytest

from suite.failures import RunFailed
from suite.fleet.ray import drive as driving
from suite.fleet.ray.cluster import Lost
from suite.fleet.ray.drive import Orders, drive, hardware_keys
from suite.fleet.ray.jobs import FleetPlan, Job
from suite.fleet.ray.node_run import (
    Begun,
    Content,
    Event,
    Finished,
    OtherHardware,
    ProgressLine,
    Task,
)
from suite.fleet.ray.nodes import Node
from suite.records.record import Record
from suite.records.store import read
from tests.records import a_case, a_machine, a_time

KEY = "cpu-invented-2cores"
FIRST, SECOND = (Node(name, f"10.0.0.{name}", "H100", 8, 1) for name in "12")
HOST = Node("3", "10.0.0.3", "CPU", 8, 0)

Happening = Event | Lost | Callable[[], None]


def lines(*records: Record) -> Content:
    return Content(b"".join(msgspec.json.encode(record) + b"\n" for record in records))


HEADER, FIRST_CELL, SECOND_CELL = (
    lines(a_machine()),
    lines(a_time(a_case(), "eager")),
    lines(a_time(a_case(), "flex")),
)
WELL = (Begun(KEY), HEADER, FIRST_CELL, ProgressLine("[1/1 cells]"), Finished(None))


class Script:
    """A cluster whose tasks go as written, by node; no node may have two at once."""

    def __init__(self, nodes: Sequence[Node], **by_node: Iterable[Sequence[Happening]]) -> None:
        self.listed = list(nodes)
        self.tasks: list[tuple[Node, Task]] = []
        self.cancelled: list[int] = []
        self._by_node = {name.removeprefix("n"): list(each) for name, each in by_node.items()}
        self._streams: dict[int, list[Happening]] = {}
        self._busy: dict[str, int] = {}

    def nodes(self) -> list[Node]:
        return self.listed

    def start(self, node: Node, task: Task) -> int:
        self.tasks.append((node, task))
        stream = len(self.tasks)
        self._streams[stream] = list(self._by_node[node.id].pop(0))
        assert node.id not in self._busy, f"two tasks on node {node.id}"
        self._busy[node.id] = stream
        return stream

    def events(self, streams: Sequence[int], timeout_s: float) -> list[tuple[int, Event | Lost]]:
        (stream, *_) = streams
        happening = self._streams[stream].pop(0)
        if callable(happening):
            happening()
            return []
        if isinstance(happening, Finished | Lost | OtherHardware):
            self._busy = {name: each for name, each in self._busy.items() if each != stream}
        return [(stream, happening)]

    def cancel(self, stream: int) -> None:
        self.cancelled.append(stream)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that sleeping turns on."""
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def orders(folder: Path, *jobs: Job) -> Orders:
    return Orders(FleetPlan(("--passes", "1"), jobs), folder, wait_s=60)


def silent(_who: str, _line: str) -> None:
    """Show nothing."""


def test_each_job_runs_on_a_node_of_its_type_and_its_file_lies_by_hardware_key(
    tmp_path: Path,
) -> None:
    cluster = Script([HOST, FIRST], n1=[WELL], n3=[WELL])
    said: list[tuple[str, str]] = []
    plan = orders(tmp_path, Job("H100"), Job("CPU"))
    assert drive(plan, cluster, lambda *each: said.append(each)) == {}
    assert [(node.id, task.device) for node, task in cluster.tasks] == [("1", "cuda"), ("3", "cpu")]
    assert all(task.words == ["--passes", "1"] for _, task in cluster.tasks)
    assert len(read(tmp_path / KEY / "CPU.jsonl").finished()) == 1
    assert ("H100 10.0.0.1", "[1/1 cells]") in said


def test_two_jobs_of_a_type_are_never_on_one_node_at_once(tmp_path: Path) -> None:
    jobs = [Job("H100", part, 2, KEY) for part in (1, 2)]
    cluster = Script([FIRST], n1=[WELL, WELL])
    assert drive(orders(tmp_path, *jobs), cluster, silent) == {}
    assert [task.words for _, task in cluster.tasks] == [
        ["--passes", "1", "--part", "1/2"],
        ["--passes", "1", "--part", "2/2"],
    ]
    assert {task.hardware_key for _, task in cluster.tasks} == {KEY}


def test_a_lost_nodes_job_goes_on_elsewhere_with_the_cells_that_came(tmp_path: Path) -> None:
    lost = (Begun(KEY), HEADER, FIRST_CELL, Lost("the node died"))
    rest = (Begun(KEY), HEADER, SECOND_CELL, Finished(None))
    cluster = Script([FIRST, SECOND], n1=[lost], n2=[rest])
    assert drive(orders(tmp_path, Job("H100")), cluster, silent) == {}
    (_, first), (node, second) = cluster.tasks
    assert (first.so_far, first.hardware_key) == (b"", None)
    assert node == SECOND
    assert (second.so_far, second.hardware_key) == (HEADER.lines + FIRST_CELL.lines, KEY)
    assert len(read(tmp_path / KEY / "H100.jsonl").finished()) == 2


def test_an_unfinished_line_of_a_driver_that_was_killed_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "H100.jsonl").write_bytes(HEADER.lines + FIRST_CELL.lines + b'{"record":"ti')
    cluster = Script([FIRST], n1=[(Begun(KEY), SECOND_CELL, Finished(None))])
    assert drive(orders(tmp_path, Job("H100")), cluster, silent) == {}
    assert cluster.tasks[0][1].so_far == HEADER.lines + FIRST_CELL.lines
    results = read(tmp_path / KEY / "H100.jsonl")
    assert (len(results.finished()), results.warnings) == (2, [])


def test_the_only_node_of_a_type_gets_a_second_try_after_a_while(
    tmp_path: Path, clock: list[float]
) -> None:
    cluster = Script([FIRST], n1=[(Lost("its worker died"),), WELL])
    assert drive(orders(tmp_path, Job("H100")), cluster, silent) == {}
    assert clock[0] == pytest.approx(1000 + driving.RETURN_S)


def test_a_job_that_loses_every_node_is_given_up(tmp_path: Path) -> None:
    cluster = Script([FIRST], n1=[(Lost("worker died"),)] * driving.MOST_LOSSES)
    failures = drive(orders(tmp_path, Job("H100")), cluster, silent)
    assert failures == {"H100": "3 nodes were lost, the last: worker died"}


def test_a_type_that_no_node_offers_is_waited_for_and_told(
    tmp_path: Path, clock: list[float]
) -> None:
    cluster = Script([HOST, FIRST])
    failures = drive(orders(tmp_path, Job("B200")), cluster, silent)
    assert failures == {"B200": "no node offers B200 after 60 s; the cluster offers CPU, H100"}
    assert clock[0] == pytest.approx(1060)


def test_a_node_that_comes_while_its_type_is_waited_for_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Script([], n1=[WELL])
    monkeypatch.setattr(cluster, "nodes", lambda: [FIRST] if time.monotonic() > 1030 else [])
    assert drive(orders(tmp_path, Job("H100")), cluster, silent) == {}


def test_a_failing_run_is_told_is_not_repeated_and_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    failing = (Begun(KEY), HEADER, FIRST_CELL, Finished("a lane can't start"))
    cluster = Script([FIRST, HOST], n1=[failing], n3=[WELL])
    failures = drive(orders(tmp_path, Job("H100"), Job("CPU")), cluster, silent)
    assert failures == {"H100": "a lane can't start"}
    assert len(cluster.tasks) == 2
    assert len(read(tmp_path / "H100.jsonl").finished()) == 1


def test_a_node_of_another_hardware_key_is_not_asked_again(
    tmp_path: Path, clock: list[float]
) -> None:
    cluster = Script([FIRST], n1=[(OtherHardware("other"),)])
    failures = drive(orders(tmp_path, Job("H100", 1, 2, KEY)), cluster, silent)
    (why,) = failures.values()
    assert why.startswith("no H100 node is of the hardware key that it was begun on after 60 s")
    assert len(cluster.tasks) == 1


def test_an_interruption_cancels_all_tasks_and_keeps_what_came(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    cluster = Script([FIRST, HOST], n1=[(HEADER, FIRST_CELL, interrupt)], n3=[()])
    with pytest.raises(RunFailed, match=f"interrupted; fleet --resume {tmp_path} measures the"):
        drive(orders(tmp_path, Job("H100"), Job("CPU")), cluster, silent)
    assert cluster.cancelled == [1, 2]
    assert len(read(tmp_path / "H100.jsonl").finished()) == 1


def test_a_job_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    drive(orders(tmp_path, Job("H100")), Script([FIRST], n1=[WELL]), silent)
    again = Script([FIRST])
    assert drive(orders(tmp_path, Job("H100")), again, silent) == {}
    assert again.tasks == []


def test_a_file_that_is_none_is_refused_when_it_has_come(tmp_path: Path) -> None:
    cluster = Script([FIRST], n1=[(Begun(KEY), Content(b"{}\n"), Finished(None))])
    failures = drive(orders(tmp_path, Job("H100")), cluster, silent)
    assert "not a results file" in failures["H100"]


def test_nodes_tell_their_hardware_keys_unless_they_can_not(tmp_path: Path) -> None:
    cluster = Script([FIRST, SECOND], n1=[(Begun(KEY), Finished(None))], n2=[(Finished("no GPU"),)])
    assert hardware_keys(cluster, [FIRST, SECOND], orders(tmp_path)) == {"1": KEY}
    assert all(task.words is None for _, task in cluster.tasks)
