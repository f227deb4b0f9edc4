"""Jobs, the plan's file, and how a plan is split over nodes."""

from pathlib import Path

import pytest

from suite.failures import BadRequest
from suite.fleet.ray.jobs import FleetPlan, Job, begin_folder, read_plan, split, write_plan


def test_a_plan_comes_back_from_its_folder_as_it_was(tmp_path: Path) -> None:
    plan = FleetPlan(("--lengths", "64"), (Job("H100", 1, 2, "key"), Job("CPU")))
    begin_folder(tmp_path / "out", plan)
    assert read_plan(tmp_path / "out") == plan


def test_a_folder_that_exists_is_refused_with_the_way_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=f"--out {tmp_path} exists; --resume {tmp_path} completes"):
        begin_folder(tmp_path, FleetPlan((), ()))


@pytest.mark.parametrize("content", [None, b"{", b'{"words": 1}'])
def test_a_folder_of_no_fleet_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "fleet.json").write_bytes(content)
    with pytest.raises(BadRequest, match="no folder of a fleet"):
        read_plan(tmp_path)


def test_each_hardware_key_has_the_whole_plan_and_each_node_a_part() -> None:
    jobs = split(Job("H100", cases_to_split=9), ["a", "b", "a", "c"])
    assert [(job.hardware_key, job.part, job.parts) for job in jobs] == [
        ("a", 1, 2),
        ("a", 2, 2),
        ("b", 1, 1),
        ("c", 1, 1),
    ]
    assert len({job.name for job in jobs}) == len(jobs)


def test_there_are_no_more_parts_than_cases() -> None:
    assert len(split(Job("CPU", cases_to_split=2), ["a"] * 5)) == 2


def test_a_cpus_job_measures_the_cpu_and_every_other_the_gpus() -> None:
    assert (Job("CPU").kind, Job("H100").kind) == ("cpu", "cuda")


def test_without_nodes_that_tell_their_key_a_job_stays_whole() -> None:
    assert split(Job("CPU", cases_to_split=2), []) == [Job("CPU")]


def test_a_plan_takes_the_place_of_the_one_that_is_there(tmp_path: Path) -> None:
    begin_folder(tmp_path / "out", FleetPlan((), (Job("H100", cases_to_split=2),)))
    plan = FleetPlan((), (Job("H100", 1, 2, "key"), Job("H100", 2, 2, "key")))
    write_plan(tmp_path / "out", plan)
    assert read_plan(tmp_path / "out") == plan
