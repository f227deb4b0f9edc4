"""Jobs go to nodes of their type, each file to its place; what fails is told and costs no other."""

from pathlib import Path

import pytest

from suite.failures import RunFailed
from suite.fleet.ray.drive import drive
from suite.fleet.ray.jobs import Job
from suite.fleet.ray.on_node.node_run import (
    Content,
    JobEnd,
    JobStart,
    NodeDevice,
    OtherHardware,
    PartialFile,
)
from suite.records.store import read
from tests.suite.fleet.ray.script import (
    CPU,
    FIRST,
    FIRST_CELL,
    GPU,
    HEADER,
    HOST,
    KEY,
    SECOND_CELL,
    SECOND_GPU,
    Script,
    failures,
    good_run,
    orders,
)

pytestmark = pytest.mark.usefixtures("clock")


def test_each_job_runs_on_a_node_of_its_type_and_its_file_lies_by_hardware_key(
    tmp_path: Path,
) -> None:
    cluster = Script([HOST, FIRST], n1=[good_run(GPU)], n3=[good_run(CPU)])
    said: list[tuple[str, str]] = []
    plan = orders(tmp_path, Job("H100"), Job("CPU"))
    work = drive(plan, cluster, lambda *each: said.append(each))
    assert (work.failures, work.unfinished) == ({}, {})
    assert [(node.id, task.kind) for node, task in cluster.tasks] == [("1", "cuda"), ("3", "cpu")]
    assert all(task.words == ["--passes", "1"] for _, task in cluster.tasks)
    assert len(read(tmp_path / KEY / "CPU.jsonl").finished_cells()) == 2
    assert len(read(tmp_path / KEY / "H100-cuda0.jsonl").finished_cells()) == 2
    assert ("H100 10.0.0.1", "[2/2 cells]") in said


def test_each_gpu_of_a_node_has_a_file_in_the_folder_of_its_hardware_key(tmp_path: Path) -> None:
    small = NodeDevice("cuda:2", "small")
    said: list[str] = []
    cluster = Script([FIRST], n1=[good_run(GPU, SECOND_GPU, small)])
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
    cluster = Script([FIRST], n1=[good_run(GPU), good_run(GPU)])
    assert failures(orders(tmp_path, *jobs), cluster) == {}
    assert [task.words for _, task in cluster.tasks] == [
        ["--passes", "1", "--part", "1/2"],
        ["--passes", "1", "--part", "2/2"],
    ]
    assert {task.hardware_key for _, task in cluster.tasks} == {KEY}


def test_a_failing_run_is_told_is_not_repeated_and_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    failing = (JobStart((GPU,)), HEADER, FIRST_CELL, JobEnd("a lane can't start"))
    cluster = Script([FIRST, HOST], n1=[failing], n3=[good_run(CPU)])
    why = failures(orders(tmp_path, Job("H100"), Job("CPU")), cluster)
    assert why == {"H100": "a lane can't start"}
    assert len(cluster.tasks) == 2
    assert len(read(tmp_path / "H100-cuda0.jsonl").finished_cells()) == 1


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
    assert len(read(tmp_path / "H100-cuda0.jsonl").finished_cells()) == 1


def test_a_job_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    failures(orders(tmp_path, Job("H100")), Script([FIRST], n1=[good_run(GPU)]))
    again = Script([FIRST])
    assert failures(orders(tmp_path, Job("H100")), again) == {}
    assert again.tasks == []


def test_a_job_that_its_budget_cut_short_is_unfinished_and_is_completed_by_the_next_drive(
    tmp_path: Path,
) -> None:
    short = (JobStart((GPU,)), HEADER, FIRST_CELL, JobEnd(None))
    cluster = Script([FIRST], n1=[short])
    hasty = orders(tmp_path, Job("H100"))._replace(budget="9s")
    work = drive(hasty, cluster, lambda *_: None)
    assert (work.failures, work.unfinished) == ({}, {"H100": 1})
    assert cluster.tasks[0][1].budget == ("--budget", "9s")
    assert len(read(tmp_path / KEY / "H100-cuda0.jsonl").finished_cells()) == 1

    again = Script([FIRST], n1=[(JobStart((GPU,)), SECOND_CELL, JobEnd(None))])
    work = drive(orders(tmp_path, Job("H100")), again, lambda *_: None)
    assert (work.failures, work.unfinished) == ({}, {})
    ((_, task),) = again.tasks
    assert (task.files, task.budget) == ([PartialFile(GPU, HEADER.lines + FIRST_CELL.lines)], ())
    assert len(read(tmp_path / KEY / "H100-cuda0.jsonl").finished_cells()) == 2
    assert not list(tmp_path.glob("*.jsonl"))


def test_files_of_a_type_whose_name_begins_like_anothers_are_not_taken_for_its_own(
    tmp_path: Path,
) -> None:
    failures(
        orders(tmp_path, Job("H100-80G")),
        Script([FIRST._replace(type="H100-80G")], n1=[good_run(GPU)]),
    )
    cluster = Script([FIRST], n1=[good_run(GPU)])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}
    assert len(cluster.tasks) == 1


def test_a_file_that_is_none_is_refused_when_it_has_come(tmp_path: Path) -> None:
    cluster = Script([FIRST], n1=[(JobStart((GPU,)), Content("cuda:0", b"{}\n"), JobEnd(None))])
    why = failures(orders(tmp_path, Job("H100")), cluster)
    assert "not a results file" in why["H100"]


def test_a_run_that_sent_nothing_is_told(tmp_path: Path) -> None:
    cluster = Script([FIRST], n1=[(JobStart((GPU,)), JobEnd(None))])
    why = failures(orders(tmp_path, Job("H100")), cluster)
    assert why == {"H100": "the node sent no results"}
