"""A plan is split over the nodes of a hardware key, and each part is done once."""

from pathlib import Path

import pytest

from suite.fleet.ray.cluster import NodeLoss
from suite.fleet.ray.drive import Orders, drive, hardware_keys
from suite.fleet.ray.jobs import Job, begin_folder, read_plan
from suite.fleet.ray.nodes import Node
from suite.fleet.ray.on_node.node_run import JobEnd, JobStart, NodeDevice
from tests.suite.fleet.ray.script import (
    CPU,
    FIRST,
    GPU,
    HOST,
    KEY,
    SECOND,
    Script,
    ScriptStep,
    failures,
    good_run,
    orders,
)

pytestmark = pytest.mark.usefixtures("clock")


def test_nodes_tell_their_hardware_keys_unless_they_can_not(tmp_path: Path) -> None:
    cluster = Script([FIRST, SECOND], n1=[only_devices(GPU)], n2=[(JobEnd("no GPU"),)])
    assert hardware_keys(cluster, [FIRST, SECOND], orders(tmp_path)) == {"1": KEY}
    assert all(task.words is None for _, task in cluster.tasks)


def only_devices(*devices: NodeDevice) -> tuple[ScriptStep, ...]:
    """Return what happens on a node that only tells its devices."""
    return (JobStart(devices), JobEnd(None))


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
        n1=[only_devices(GPU), good_run(GPU)],
        n2=[only_devices(GPU), good_run(GPU)],
        n3=[good_run(CPU)],
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
    cluster = Script(
        [], n1=[only_devices(GPU), good_run(GPU)], n2=[only_devices(GPU), good_run(GPU)]
    )
    joins = {FIRST: 1010, SECOND: 1050}
    monkeypatch.setattr(
        cluster, "nodes", lambda: [node for node, at in joins.items() if clock[0] >= at]
    )
    assert failures(in_folder(tmp_path, TO_SPLIT), cluster) == {}
    assert parts(cluster) == [("1/2", "1"), ("2/2", "2")]
    assert clock[0] == pytest.approx(1060, abs=2)


def test_a_part_of_a_lost_node_goes_to_a_node_that_joins_after_the_split(tmp_path: Path) -> None:
    third = Node("4", "10.0.0.4", "H100", 8, 1)
    lost = (JobStart((GPU,)), NodeLoss("died"))
    cluster = Script(
        [FIRST, SECOND],
        n1=[only_devices(GPU), good_run(GPU)],
        n2=[only_devices(GPU), lost],
        n4=[good_run(GPU)],
    )

    def lose_one_and_get_another(_who: str, line: str) -> None:
        if line.startswith("lost"):
            cluster.all_nodes = [third]

    work = drive(in_folder(tmp_path, TO_SPLIT), cluster, lose_one_and_get_another)
    assert work.failures == {}
    assert parts(cluster) == [("1/2", "1"), ("2/2", "2"), ("2/2", "4")]


def test_a_plan_to_split_without_a_node_is_given_up_after_the_wait_and_split_when_resumed(
    tmp_path: Path,
) -> None:
    plan = in_folder(tmp_path, TO_SPLIT)
    assert list(failures(plan, Script([]))) == ["H100"]
    cluster = Script([FIRST], n1=[only_devices(GPU), good_run(GPU)])
    again = plan._replace(plan=read_plan(plan.folder))
    assert failures(again, cluster) == {}
    assert (plan.folder / KEY / f"H100-{KEY}-1-of-1-cuda0.jsonl").exists()
