"""A copy without git knows the commit that was noted in it, as long as it is that commit's code."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.conditions.measured_code import MeasuredCode, measured_code, write_note
from tests.fakes.console import ROOT

CODE = """
from suite.conditions.measured_code import measured_code
code = measured_code()
print(code.commit, code.uncommitted, code.digest)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the code without git, in which its commit is noted."""
    copy = tmp_path_factory.mktemp("copies") / "copy"
    for folder in ("suite", "variants"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    write_note(copy)
    return copy


def code_of(copy: Path) -> MeasuredCode:
    """Return what a process in a copy says about its code."""
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=copy, capture_output=True, text=True, check=True
    )
    commit, uncommitted, digest = done.stdout.split()
    return MeasuredCode(commit, uncommitted == "True", digest)


def test_a_copy_is_of_the_commit_that_is_noted_in_it(copy: Path) -> None:
    assert code_of(copy) == measured_code()


@pytest.mark.parametrize("note", ["{", '{"commit": "abc", "uncommitted": false, "digest": "0"}'])
def test_a_note_that_is_damaged_or_of_other_code_is_not_believed(copy: Path, note: str) -> None:
    (file,) = copy.glob("*.json")
    whole = file.read_text()
    file.write_text(note)
    assert code_of(copy).commit == f"tree-{measured_code().digest}"
    file.write_text(whole)


def test_a_copy_that_was_changed_is_of_no_commit(copy: Path) -> None:
    changed = copy.with_name("changed")
    shutil.copytree(copy, changed, ignore=shutil.ignore_patterns("__pycache__"))
    with (changed / "variants" / "native" / "kernel" / "products" / "tiles.h").open("a") as source:
        source.write("\n")
    code = code_of(changed)
    assert code.commit == f"tree-{code.digest}"
    assert code.digest != measured_code().digest


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_copy_in_a_repository_that_does_not_have_it_is_of_no_commit(tmp_path: Path) -> None:
    somebody = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "-m", "none of it"]):
        subprocess.run(["git", *somebody, *words], cwd=tmp_path, check=True)
    for folder in ("suite", "variants"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    assert code_of(tmp_path).commit == f"tree-{measured_code().digest}"
