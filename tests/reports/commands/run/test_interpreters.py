"""A race may have lanes of several interpreters; their versions are in the results."""

import json
import sys
from pathlib import Path

import pytest

from suite.records.store import read
from tests.fakes.console import bench
from tests.fakes.in_process import take_few_turns

TINY = ("--device", "cpu", "--lengths", "64", "--dtypes", "float32", "--passes", "1")


def interpreter(path: Path) -> Path:
    """Write a program that is this interpreter and says so to its children."""
    path.write_text(f'#!/bin/sh\nOTHER=yes exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


KERNEL = """
import os
from variants.sdpa.sdpa_mask import prepare as prepare_mask
def prepare(spec):
    assert (os.environ.get("OTHER") == "yes") is %s
    return prepare_mask(spec)
"""


@pytest.mark.heavy
def test_each_lane_runs_in_its_interpreter_and_its_versions_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    take_few_turns(monkeypatch)
    other = interpreter(tmp_path / "python")
    Path("here.py").write_text(KERNEL % False)
    Path("there.py").write_text(KERNEL % True)
    words = ("--variants", "./here.py,./there.py", "--python", f"there.py={other}")
    done = bench("run", *TINY, *words, "--out", "r.jsonl")
    assert done.returncode == 0, done.stderr
    rows = json.loads(bench("table", "r.jsonl", "--format", "json").stdout)
    assert {row["variant"]: row["status"] for row in rows} == {
        "no_bias": "measured",
        "here.py": "measured",
        "there.py": "measured",
    }
    header = read(tmp_path / "r.jsonl").header
    assert header.software["torch of there.py"] == header.software["torch"]
    assert "torch of here.py" not in header.software
    lines = Path("r.jsonl").read_text().splitlines()
    Path("r.jsonl").write_text("\n".join(lines[:1]) + "\n")
    assert bench("run", "--resume", "r.jsonl").returncode == 0
    again = json.loads(bench("table", "r.jsonl", "--format", "json").stdout)
    assert {row["status"] for row in again} == {"measured"}
    other.write_text('#!/bin/sh\necho \'{"torch": "9.9"}\'\n')
    refused = bench("run", "--resume", "r.jsonl")
    assert refused.returncode == 2
    assert "torch of there.py 9.9 and not" in refused.stderr


@pytest.mark.parametrize("answer", ["1", '{"torch": 3}', "[]"])
def test_a_program_that_prints_something_else_is_refused(answer: str, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\necho '{answer}'\n")
    fake.chmod(0o755)
    done = bench("run", *TINY, "--variants", "eager", "--python", f"eager={fake}")
    assert done.returncode == 2
    assert "it does not run Python; name an interpreter" in done.stderr


def test_a_program_that_is_none_is_refused_before_anything_is_measured() -> None:
    words = ("--variants", "eager", "--python", "eager=/no/such/python")
    done = bench("run", *TINY, *words, "--out", "none.jsonl")
    assert done.returncode == 2
    assert "--python eager=/no/such/python: no such program" in done.stderr
    assert not Path("none.jsonl").exists()
