"""A file of lengths is read line by line: what is damaged is named, what is missing is known."""

from pathlib import Path

import msgspec
import pytest

from suite.quality.design import LengthTest
from suite.quality.methods import METHOD_BY_NAME
from suite.quality.record import ModelFault, Training
from suite.quality.results import is_of_lengths, read
from suite.records.store import StoreError
from tests.quality_files import header, qualities, write

ROPE = METHOD_BY_NAME["rope"]
HEADER, QUALITIES = header(), qualities()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    training = Training("rope", 0, "none", False, (5.0, 4.5), 60.0, 1000)
    fault = ModelFault("t5", 1, "killed by SIGKILL")
    path = write(tmp_path / "lengths.jsonl", [HEADER, training, fault, *QUALITIES])
    results = read(path)
    assert results.header == HEADER
    assert results.qualities == QUALITIES
    assert (results.trainings, results.faults) == ([training], [fault])
    assert results.warnings == []
    assert results.is_trained(ROPE, 0)
    assert not results.is_trained(ROPE, 1)


def test_a_test_is_done_when_it_has_every_length(tmp_path: Path) -> None:
    lines = [each for each in QUALITIES if (each.method, each.seed) == ("rope", 0)][:-1]
    done = read(write(tmp_path / "lengths.jsonl", [HEADER, *lines])).tests_done(ROPE, 0)
    assert set(HEADER.design.tests(ROPE)) - done == {LengthTest("yarn", True)}


def test_a_test_done_anew_after_an_interruption_between_two_lengths_counts_once(
    tmp_path: Path,
) -> None:
    tuned = Training("rope", 0, "yarn", True, (4.0,), 60.0, 1000)
    before, anew = (msgspec.structs.replace(each, cpu_s=each.cpu_s + 1) for each in QUALITIES[:2])
    tuned_anew = msgspec.structs.replace(tuned, cpu_s=61.0)
    path = tmp_path / "lengths.jsonl"
    results = read(write(path, [HEADER, tuned, before, tuned_anew, *QUALITIES]))
    assert results.trainings == [tuned_anew]
    assert results.qualities == QUALITIES
    assert read(write(path, [HEADER, *QUALITIES, anew])).qualities[1] == anew


def test_an_unfinished_line_and_a_damaged_one_are_named_and_the_rest_is_read(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "lengths.jsonl", [HEADER, *QUALITIES[:2]])
    content = path.read_bytes().split(b"\n")
    content[1] = content[1].replace(b'"length":128', b'"length":-1')
    path.write_bytes(b"\n".join(content) + b'{"record":')
    results = read(path)
    assert results.qualities == QUALITIES[1:2]
    assert len(results.warnings) == 2
    assert any("line 2 is damaged" in warning for warning in results.warnings)
    assert any("unfinished" in warning for warning in results.warnings)


def test_a_test_of_another_number_of_windows_is_named_and_left_out(tmp_path: Path) -> None:
    fewer = msgspec.structs.replace(QUALITIES[0], by_windows=(1.0,), on_same_targets=(1.0,))
    results = read(write(tmp_path / "lengths.jsonl", [HEADER, fewer, QUALITIES[1]]))
    assert results.qualities == [QUALITIES[1]]
    (warning,) = results.warnings
    assert "1 windows, and the text has 4" in warning


def test_a_file_of_lengths_is_told_by_its_first_line(tmp_path: Path) -> None:
    assert is_of_lengths(write(tmp_path / "lengths.jsonl", [HEADER]))
    for content in (b"", b"[]\n", b"\xff\n", b'{"record":"machine"}\n'):
        (tmp_path / "other.jsonl").write_bytes(content)
        assert not is_of_lengths(tmp_path / "other.jsonl")
    assert not is_of_lengths(tmp_path)
    assert not is_of_lengths(tmp_path / "missing.jsonl")


@pytest.mark.parametrize("content", [b"", b"{}\n", b"text\n", b'{"record":"machine"}\n'])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.jsonl"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not a file of `lengths`"):
        read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        read(tmp_path / "missing.jsonl")
