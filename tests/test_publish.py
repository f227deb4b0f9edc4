"""What a device publishes is of one commit of the measured code, and nothing else stays."""

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.publish import SETS, remove_superseded
from suite.records.store import Store
from tests.records import a_machine


def write(path: Path, commit: str) -> None:
    with closing(Store(path)) as store:
        store.append([a_machine(commit=commit)])


def test_files_of_another_commit_and_of_no_set_are_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    current, older = "1" * 40, "2" * 40
    write(tmp_path / "forward.jsonl", current)
    write(tmp_path / "decode.jsonl", older)
    write(tmp_path / "forward-kernel.jsonl", current)
    (tmp_path / "README.md").touch()
    remove_superseded(tmp_path, current)
    assert {path.name for path in tmp_path.iterdir()} == {"forward.jsonl", "README.md"}
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "decode.jsonl is superseded, and removed",
        "forward-kernel.jsonl is superseded, and removed",
    ]


def test_every_set_names_its_cases_and_how_often_it_is_raced() -> None:
    for options in SETS.values():
        assert "--lengths" in options or "--sweep" in options
        assert "--passes" in options
