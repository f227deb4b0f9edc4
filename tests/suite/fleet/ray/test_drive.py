"""Jobs go to nodes of their type; what is lost, busy, absent or failing is handled as promised."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import pytest

from suite.failures import RunFailed
from suite.fleet.ray.attempts import MOST_LOSSES, RETURN_S
from suite.fleet.ray.cluster import Lost
from suite.fleet.ray.drive import Orders, drive, hardware_keys
from suite.fleet.ray.jobs import FleetPlan, Job, begin_folder, read_plan
from suite.fleet.ray.nodes import Node
from suite.fleet.ray.on_node.node_run import (
    Begun,
    BegunFile,
    Content,
    Event,
    Finished,
    NodeDevice,
    OtherHardware,
    ProgressLine,
    Task,
)
from suite.records.record import Record, RunHeader
from suite.records.store import read
from tests.records import a_case, a_machine, a_plan, a_time

KEY = "invented-2cores"
CPU, GPU, SECOND_GPU = (NodeDevice(name, KEY) for name in ("cpu", "cuda:0", "cuda:1"))
FIRST, SECOND = (Node(name, f"10.0.0.{name}", "H100", 8, 1) for name in "12")
HOST = Node("3", "10.0.0.3", "CPU", 8, 0)

Happening = Event | Lost | Callable[[], None]


def header_of(device: NodeDevice) -> RunHeader:
    """Return the header of a run that is to measure two cells on a device."""
    plan = msgspec.structs.replace(a_plan(variants=("eager", "flex")), device=device.name)
    return a_machine(plan, key=device.hardware_key)


def lines(device: NodeDevice, *records: Record) -> Content:
    return Content(device.name, b"".join(msgspec.json.encode(each) + b"\n" for each in records))


HEADER = lines(GPU, header_of(GPU))
FIRST_CELL, SECOND_CELL = (lines(GPU, a_time(a_case(), name)) for name in ("eager", "flex"))


def well(*devices: NodeDevice) -> tuple[Happening, ...]:
    """Return what happens on a node on which all is well."""
    cells = [a_time(a_case(), name) for name in ("eager", "flex")]
    contents = [lines(each, header_of(each), *cells) for each in devices]
    return (Begun(devices), *contents, ProgressLine("[2/2 cells]"), Finished(None))


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


def failures(orders: Orders, cluster: Script) -> dict[str, str]:
    """Drive jobs in silence and return why jobs failed."""
    return drive(orders, cluster, lambda _who, _line: None).failures


def test_each_job_runs_on_a_node_of_its_type_and_its_file_lies_by_hardware_key(
    tmp_path: Path,
) -> None:
    cluster = Script([HOST, FIRST], n1=[well(GPU)], n3=[well(CPU)])
    said: list[tuple[str, str]] = []
    plan = orders(tmp_path, Job("H100"), Job("CPU"))
    work = drive(plan, cluster, lambda *each: said.append(each))
    assert (work.failures, work.unfinished) == ({}, {})
    assert [(node.id, task.kind) for node, task in cluster.tasks] == [("1", "cuda"), ("3", "cpu")]
    assert all(task.words == ["--passes", "1"] for _, task in cluster.tasks)
    assert len(read(tmp_path / KEY / "CPU.jsonl").finished()) == 2
    assert len(read(tmp_path / KEY / "H100-cuda0.jsonl").finished()) == 2
    assert ("H100 10.0.0.1", "[2/2 cells]") in said


def test_each_gpu_of_a_node_has_a_file_in_the_folder_of_its_hardware_key(tmp_path: Path) -> None:
    small = NodeDevice("cuda:2", "small")
    said: list[str] = []
    cluster = Script([FIRST], n1=[well(GPU, SECOND_GPU, small)])
    drive(orders(tmp_path, Job("H100")), cluster, lambda _, line: said.append(line))
    assert f"H100 begins, 2 x {KEY}, small" in said
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("*/*"))
    assert [str(path) for path in files] == [
        f"{KEY}/H100-cuda0.jsonl",
        f"{KEY}/H100-cuda1.jsonl",
        "small/H100-cuda2.jsonl",
    ]


def test_two_jobs_of_a_type_are_never_on_one_node_at_once(tmp_path: Path) -> None:
    jobs = [Job("H100", part, 2, KEY) for part in (1, 2)]
    cluster = Script([FIRST], n1=[well(GPU), well(GPU)])
    assert failures(orders(tmp_path, *jobs), cluster) == {}
    assert [task.words for _, task in cluster.tasks] == [
        ["--passes", "1", "--part", "1/2"],
        ["--passes", "1", "--part", "2/2"],
    ]
    assert {task.hardware_key for _, task in cluster.tasks} == {KEY}


def test_a_lost_nodes_job_goes_on_elsewhere_with_the_cells_that_came(tmp_path: Path) -> None:
    other = lines(SECOND_GPU, header_of(SECOND_GPU))
    lost = (Begun((GPU, SECOND_GPU)), HEADER, FIRST_CELL, other, Lost("the node died"))
    cells = [a_time(a_case(), name) for name in ("eager", "flex")]
    rest = (SECOND_CELL, lines(SECOND_GPU, *cells), Finished(None))
    cluster = Script([FIRST, SECOND], n1=[lost], n2=[rest])
    work = drive(orders(tmp_path, Job("H100")), cluster, lambda *_: None)
    assert (work.failures, work.unfinished) == ({}, {})
    (_, first), (node, second) = cluster.tasks
    assert (first.files, node) == ([], SECOND)
    assert second.files == [
        BegunFile(GPU, HEADER.lines + FIRST_CELL.lines),
        BegunFile(SECOND_GPU, other.lines),
    ]
    assert len(read(tmp_path / KEY / "H100-cuda0.jsonl").finished()) == 2


def test_a_file_in_which_no_line_is_whole_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "H100-cuda0.jsonl").write_bytes(HEADER.lines[:20])
    cluster = Script([FIRST], n1=[well(GPU)])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}
    assert cluster.tasks[0][1].files == []
    assert read(tmp_path / KEY / "H100-cuda0.jsonl").warnings == []


def test_an_unfinished_line_of_a_driver_that_was_killed_is_cut_off(tmp_path: Path) -> None:
    growing = tmp_path / "H100-cuda0.jsonl"
    growing.write_bytes(HEADER.lines + FIRST_CELL.lines + b'{"record":"ti')
    cluster = Script([FIRST], n1=[(Begun((GPU,)), SECOND_CELL, Finished(None))])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}
    assert cluster.tasks[0][1].files == [BegunFile(GPU, HEADER.lines + FIRST_CELL.lines)]
    results = read(tmp_path / KEY / "H100-cuda0.jsonl")
    assert (len(results.finished()), results.warnings) == (2, [])


def test_the_only_node_of_a_type_gets_a_second_try_after_a_while(
    tmp_path: Path, clock: list[float]
) -> None:
    cluster = Script([FIRST], n1=[(Lost("its worker died"),), well(GPU)])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}
    assert clock[0] == pytest.approx(1000 + RETURN_S)


def test_a_job_that_loses_every_node_is_given_up(tmp_path: Path) -> None:
    cluster = Script([FIRST], n1=[(Lost("worker died"),)] * MOST_LOSSES)
    why = failures(orders(tmp_path, Job("H100")), cluster)
    assert why == {"H100": "3 nodes were lost, the last: worker died"}


def test_a_type_that_no_node_offers_is_waited_for_and_told_before_and_after(
    tmp_path: Path, clock: list[float]
) -> None:
    said: list[tuple[str, str]] = []
    cluster = Script([HOST, FIRST])
    work = drive(orders(tmp_path, Job("B200")), cluster, lambda *each: said.append(each))
    offers = "the cluster offers CPU, H100"
    assert said == [("B200", f"no node offers B200 yet; waiting 60 s; {offers}")]
    assert work.failures == {"B200": f"no node offers B200 after 60 s; {offers}"}
    assert clock[0] == pytest.approx(1060)


def test_a_node_that_comes_while_its_type_is_waited_for_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Script([], n1=[well(GPU)])
    monkeypatch.setattr(cluster, "nodes", lambda: [FIRST] if time.monotonic() > 1030 else [])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}


def test_a_failing_run_is_told_is_not_repeated_and_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    failing = (Begun((GPU,)), HEADER, FIRST_CELL, Finished("a lane can't start"))
    cluster = Script([FIRST, HOST], n1=[failing], n3=[well(CPU)])
    why = failures(orders(tmp_path, Job("H100"), Job("CPU")), cluster)
    assert why == {"H100": "a lane can't start"}
    assert len(cluster.tasks) == 2
    assert len(read(tmp_path / "H100-cuda0.jsonl").finished()) == 1


def test_a_node_of_other_hardware_is_not_asked_again(tmp_path: Path, clock: list[float]) -> None:
    other = (OtherHardware((NodeDevice("cuda:0", "other"),)),)
    cluster = Script([FIRST], n1=[other])
    (why,) = failures(orders(tmp_path, Job("H100", 1, 2, KEY)), cluster).values()
    assert why.startswith("no H100 node has the devices that it was begun on after 60 s")
    assert len(cluster.tasks) == 1


def test_an_interruption_cancels_all_tasks_and_keeps_what_came(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    cluster = Script([FIRST, HOST], n1=[(HEADER, FIRST_CELL, interrupt)], n3=[()])
    with pytest.raises(RunFailed, match=f"interrupted; fleet --resume {tmp_path} measures the"):
        failures(orders(tmp_path, Job("H100"), Job("CPU")), cluster)
    assert cluster.cancelled == [1, 2]
    assert len(read(tmp_path / "H100-cuda0.jsonl").finished()) == 1


def test_a_job_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    failures(orders(tmp_path, Job("H100")), Script([FIRST], n1=[well(GPU)]))
    again = Script([FIRST])
    assert failures(orders(tmp_path, Job("H100")), again) == {}
    assert again.tasks == []


def test_a_job_that_its_budget_cut_short_is_unfinished_and_is_completed_by_the_next_drive(
    tmp_path: Path,
) -> None:
    short = (Begun((GPU,)), HEADER, FIRST_CELL, Finished(None))
    cluster = Script([FIRST], n1=[short])
    hasty = orders(tmp_path, Job("H100"))._replace(budget="9s")
    work = drive(hasty, cluster, lambda *_: None)
    assert (work.failures, work.unfinished) == ({}, {"H100": 1})
    assert cluster.tasks[0][1].budget == ("--budget", "9s")
    assert len(read(tmp_path / KEY / "H100-cuda0.jsonl").finished()) == 1

    again = Script([FIRST], n1=[(Begun((GPU,)), SECOND_CELL, Finished(None))])
    work = drive(orders(tmp_path, Job("H100")), again, lambda *_: None)
    assert (work.failures, work.unfinished) == ({}, {})
    ((_, task),) = again.tasks
    assert (task.files, task.budget) == ([BegunFile(GPU, HEADER.lines + FIRST_CELL.lines)], ())
    assert len(read(tmp_path / KEY / "H100-cuda0.jsonl").finished()) == 2
    assert not list(tmp_path.glob("*.jsonl"))


def test_files_of_a_type_whose_name_begins_like_anothers_are_not_taken_for_its_own(
    tmp_path: Path,
) -> None:
    failures(
        orders(tmp_path, Job("H100-80G")), Script([FIRST._replace(type="H100-80G")], n1=[well(GPU)])
    )
    cluster = Script([FIRST], n1=[well(GPU)])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}
    assert len(cluster.tasks) == 1


def test_a_file_that_is_none_is_refused_when_it_has_come(tmp_path: Path) -> None:
    cluster = Script([FIRST], n1=[(Begun((GPU,)), Content("cuda:0", b"{}\n"), Finished(None))])
    why = failures(orders(tmp_path, Job("H100")), cluster)
    assert "not a results file" in why["H100"]


def test_a_run_that_sent_nothing_is_told(tmp_path: Path) -> None:
    cluster = Script([FIRST], n1=[(Begun((GPU,)), Finished(None))])
    why = failures(orders(tmp_path, Job("H100")), cluster)
    assert why == {"H100": "the node sent no results"}


def test_nodes_tell_their_hardware_keys_unless_they_can_not(tmp_path: Path) -> None:
    cluster = Script([FIRST, SECOND], n1=[only_devices(GPU)], n2=[(Finished("no GPU"),)])
    assert hardware_keys(cluster, [FIRST, SECOND], orders(tmp_path)) == {"1": KEY}
    assert all(task.words is None for _, task in cluster.tasks)


def only_devices(*devices: NodeDevice) -> tuple[Happening, ...]:
    """Return what happens on a node that only tells its devices."""
    return (Begun(devices), Finished(None))


TO_SPLIT = Job("H100", cases_to_split=5)


def parts(cluster: Script) -> list[tuple[str, str]]:
    """Return the parts that were begun, with the node of each."""
    runs = [(node, task.words) for node, task in cluster.tasks if task.words is not None]
    return sorted((words[-1], node.id) for node, words in runs)


def in_folder(folder: Path, *jobs: Job) -> Orders:
    """Return orders whose plan is in their folder."""
    first = orders(folder / "out", *jobs)
    begin_folder(first.folder, first.plan)
    return first


def test_a_plan_is_split_over_the_nodes_that_are_there_at_the_start(
    tmp_path: Path, clock: list[float]
) -> None:
    cluster = Script(
        [FIRST, SECOND, HOST],
        n1=[only_devices(GPU), well(GPU)],
        n2=[only_devices(GPU), well(GPU)],
        n3=[well(CPU)],
    )
    plan = in_folder(tmp_path, TO_SPLIT, Job("CPU"))
    assert failures(plan, cluster) == {}
    assert parts(cluster) == [("1", "3"), ("1/2", "1"), ("2/2", "2")]
    assert clock[0] < 1010
    assert read_plan(plan.folder).jobs == (
        Job("H100", 1, 2, KEY),
        Job("H100", 2, 2, KEY),
        Job("CPU"),
    )


def test_where_no_node_is_at_the_start_a_plan_is_split_over_all_that_join_within_the_wait(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Script([], n1=[only_devices(GPU), well(GPU)], n2=[only_devices(GPU), well(GPU)])
    joins = {FIRST: 1010, SECOND: 1050}
    monkeypatch.setattr(
        cluster, "nodes", lambda: [node for node, at in joins.items() if clock[0] >= at]
    )
    assert failures(in_folder(tmp_path, TO_SPLIT), cluster) == {}
    assert parts(cluster) == [("1/2", "1"), ("2/2", "2")]
    assert clock[0] == pytest.approx(1060, abs=2)


def test_a_part_of_a_lost_node_goes_to_a_node_that_joins_after_the_split(tmp_path: Path) -> None:
    third = Node("4", "10.0.0.4", "H100", 8, 1)
    lost = (Begun((GPU,)), Lost("died"))
    cluster = Script(
        [FIRST, SECOND],
        n1=[only_devices(GPU), well(GPU)],
        n2=[only_devices(GPU), lost],
        n4=[well(GPU)],
    )

    def lose_one_and_get_another(_who: str, line: str) -> None:
        if line.startswith("lost"):
            cluster.listed = [third]

    work = drive(in_folder(tmp_path, TO_SPLIT), cluster, lose_one_and_get_another)
    assert work.failures == {}
    assert parts(cluster) == [("1/2", "1"), ("2/2", "2"), ("2/2", "4")]


def test_a_plan_to_split_without_a_node_is_given_up_after_the_wait_and_split_when_resumed(
    tmp_path: Path,
) -> None:
    plan = in_folder(tmp_path, TO_SPLIT)
    assert list(failures(plan, Script([]))) == ["H100"]
    cluster = Script([FIRST], n1=[only_devices(GPU), well(GPU)])
    again = plan._replace(plan=read_plan(plan.folder))
    assert failures(again, cluster) == {}
    assert (plan.folder / KEY / f"H100-{KEY}-1-of-1-cuda0.jsonl").exists()
