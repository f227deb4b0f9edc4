"""A unit's mark is the same in every run, and another for each machine and each of its GPUs."""

import platform
from pathlib import Path

import pytest

from suite.conditions.policy import circumstances
from suite.conditions.unit import unit


def test_each_gpu_of_a_machine_has_a_mark_that_stays() -> None:
    marks = [unit("GPU-0"), unit("GPU-1"), unit(None)]
    assert len(set(marks)) == 3
    assert marks == [unit("GPU-0"), unit("GPU-1"), unit(None)]


def test_machines_of_one_name_differ_by_their_id(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("1111\n")
    (tmp_path / "second").write_text("2222\n")
    marks = {unit(None, tmp_path / name) for name in ("first", "second", "absent")}
    assert len(marks) == 3


def test_machines_of_one_image_differ_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = unit(None)
    monkeypatch.setattr(platform, "node", lambda: "another-node")
    assert unit(None) != before
    assert "another" not in unit(None)


def test_a_runs_circumstances_have_the_mark_of_its_device() -> None:
    assert circumstances({}, "GPU-1").unit == unit("GPU-1")
