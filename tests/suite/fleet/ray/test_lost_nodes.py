"""What a lost, absent or killed part has done is kept, and the rest goes on elsewhere."""

import time
from pathlib import Path

import pytest

from suite.fleet.ray.attempts import MOST_LOSSES, RETURN_S
from suite.fleet.ray.cluster import NodeLoss
from suite.fleet.ray.drive import drive
from suite.fleet.ray.jobs import Job
from suite.fleet.ray.on_node.node_run import JobEnd, JobStart, PartialFile
from suite.records.store import read
from tests.records import a_case, a_time
from tests.suite.fleet.ray.script import (
    FIRST,
    FIRST_CELL,
    GPU,
    HEADER,
    HOST,
    KEY,
    SECOND,
    SECOND_CELL,
    SECOND_GPU,
    Script,
    failures,
    good_run,
    header_of,
    lines,
    orders,
)

pytestmark = pytest.mark.usefixtures("clock")


def test_a_lost_nodes_job_goes_on_elsewhere_with_the_cells_that_came(tmp_path: Path) -> None:
    other = lines(SECOND_GPU, header_of(SECOND_GPU))
    lost = (JobStart((GPU, SECOND_GPU)), HEADER, FIRST_CELL, other, NodeLoss("the node died"))
    cells = [a_time(a_case(), name) for name in ("eager", "flex")]
    rest = (SECOND_CELL, lines(SECOND_GPU, *cells), JobEnd(None))
    cluster = Script([FIRST, SECOND], n1=[lost], n2=[rest])
    work = drive(orders(tmp_path, Job("H100")), cluster, lambda *_: None)
    assert (work.failures, work.unfinished) == ({}, {})
    (_, first), (node, second) = cluster.tasks
    assert (first.files, node) == ([], SECOND)
    assert second.files == [
        PartialFile(GPU, HEADER.lines + FIRST_CELL.lines),
        PartialFile(SECOND_GPU, other.lines),
    ]
    assert len(read(tmp_path / KEY / "H100-cuda0.jsonl").finished_cells()) == 2


def test_a_file_in_which_no_line_is_whole_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "H100-cuda0.jsonl").write_bytes(HEADER.lines[:20])
    cluster = Script([FIRST], n1=[good_run(GPU)])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}
    assert cluster.tasks[0][1].files == []
    assert read(tmp_path / KEY / "H100-cuda0.jsonl").warnings == []


def test_an_unfinished_line_of_a_driver_that_was_killed_is_cut_off(tmp_path: Path) -> None:
    growing = tmp_path / "H100-cuda0.jsonl"
    growing.write_bytes(HEADER.lines + FIRST_CELL.lines + b'{"record":"ti')
    cluster = Script([FIRST], n1=[(JobStart((GPU,)), SECOND_CELL, JobEnd(None))])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}
    assert cluster.tasks[0][1].files == [PartialFile(GPU, HEADER.lines + FIRST_CELL.lines)]
    results = read(tmp_path / KEY / "H100-cuda0.jsonl")
    assert (len(results.finished_cells()), results.warnings) == (2, [])


def test_the_only_node_of_a_type_gets_a_second_try_after_a_while(
    tmp_path: Path, clock: list[float]
) -> None:
    cluster = Script([FIRST], n1=[(NodeLoss("its worker died"),), good_run(GPU)])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}
    assert clock[0] == pytest.approx(1000 + RETURN_S)


def test_a_job_that_loses_every_node_is_given_up(tmp_path: Path) -> None:
    cluster = Script([FIRST], n1=[(NodeLoss("worker died"),)] * MOST_LOSSES)
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
    cluster = Script([], n1=[good_run(GPU)])
    monkeypatch.setattr(cluster, "nodes", lambda: [FIRST] if time.monotonic() > 1030 else [])
    assert failures(orders(tmp_path, Job("H100")), cluster) == {}
