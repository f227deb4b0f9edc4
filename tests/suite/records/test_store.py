"""A results file is appended to by one writer at a time, and what is in it is kept."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.records.store import NotWritten, Store, StoreError, read
from tests.records import (
    a_canary,
    a_case,
    a_check,
    a_fault,
    a_few_records,
    a_machine,
    a_memory,
    a_plan,
    a_time,
    write,
)

ROOT = Path(__file__).parents[3]
CASE = a_case()
RECORDS = a_few_records()


def test_a_second_writer_adds_to_what_is_there(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    again = a_machine(threads=4)
    write(file, again, a_canary(2))
    found = read(file)
    assert found.records == [a_machine(), *RECORDS, again, a_canary(2)]
    assert found.header == a_machine()


def test_a_file_has_a_part_for_each_code_that_measured(tmp_path: Path) -> None:
    old, new = a_machine(), a_machine(commit="1" * 40)
    first, second, third = a_canary(1), a_canary(2), a_canary(3)
    file = write(tmp_path / "run.jsonl", old, first, new, second, old, third)
    parts = read(file).by_code()
    assert [part.header for part in parts] == [old, new]
    assert [part.records for part in parts] == [[old, first, old, third], [new, second]]


def test_a_file_lacks_the_cells_of_its_plan_that_have_not_ended(tmp_path: Path) -> None:
    machine = a_machine(a_plan(CASE, variants=("eager", "flex"), passes=2))
    file = write(tmp_path / "run.jsonl", machine)
    assert read(file).missing() == 4
    write(file, machine, a_time(CASE, "eager"), a_time(CASE, "eager"), a_fault(CASE, "flex"))
    assert read(file).missing() == 2
    disagrees = a_check(CASE, "flex", 2, error=None)
    write(file, machine, a_time(CASE, "eager", pass_number=2), disagrees)
    assert read(file).missing() == 0


def test_the_folder_is_made_if_need_be(tmp_path: Path) -> None:
    file = write(tmp_path / "not" / "yet" / "there.jsonl", a_machine())
    assert read(file).records == [a_machine()]


def test_opening_a_whole_file_changes_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    before = file.read_bytes()
    Store(file).close()
    assert file.read_bytes() == before


def test_a_line_torn_at_any_byte_is_cut_off_before_the_next_is_written(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    whole = file.read_bytes()
    start = whole.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(start, len(whole)):
        file.write_bytes(whole[:end])
        store = Store(file)
        store.append([a_canary(2)])
        store.close()
        found = read(file)
        assert found.records == [a_machine(), *RECORDS[:-1], a_canary(2)]
        assert found.warnings == []


def test_a_second_writer_is_refused_while_the_first_has_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    with file.open("ab") as half_written:
        first = Store(file)
        half_written.write(b'{"record":"can')
    before = file.read_bytes()
    with pytest.raises(StoreError, match="another run is writing") as refused:
        Store(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert file.read_bytes() == before
    first.close()
    Store(file).close()


def test_a_file_system_without_locks_is_not_taken_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match="No locks available: choose another --out"):
        Store(tmp_path / "run.jsonl")


def test_another_process_is_refused_too(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine())
    code = (
        "from pathlib import Path; from suite.records.store import Store; "
        f"Store(Path({str(file)!r}))"
    )
    first = Store(file)
    refused = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    first.close()
    assert "StoreError" in refused.stderr
    assert "another run is writing to it" in refused.stderr


def test_a_file_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "run.jsonl")
    store.append([a_machine(), a_canary()])
    assert read(store.path).records == [a_machine(), a_canary()]
    store.close()


def test_a_folder_is_no_place_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a regular file"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made_is_no_place_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another --out"):
        Store(tmp_path / "file" / "run.jsonl")


def test_a_full_disk_is_told_of(tmp_path: Path) -> None:
    store = Store(tmp_path / "run.jsonl")
    descriptors = Path("/proc/self/fd")
    (own,) = (
        int(fd.name) for fd in descriptors.iterdir() if fd.exists() and fd.samefile(store.path)
    )
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, own)
    os.close(full)
    with pytest.raises(NotWritten, match="No space left on device") as refused:
        store.append([a_machine()])
    assert str(refused.value).startswith(f"{store.path}: ")
    store.close()


FILL_UP = """
import resource, sys
from pathlib import Path
from suite.failures import RunFailed
from tests.records import a_case, a_time
from suite.records.store import Store
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    Store(Path(sys.argv[1])).append([a_time(a_case(), "eager")] * 3)
except RunFailed as error:
    print(error)
"""


def test_what_came_before_a_full_disk_is_kept_and_goes_on(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    limit = file.stat().st_size + 100
    stopped = subprocess.run(
        [sys.executable, "-c", FILL_UP, file, str(limit)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert stopped.stdout == f"{file}: File too large; what is in it is kept\n"
    assert file.stat().st_size == limit
    write(file, a_machine())
    found = read(file)
    assert found.records == [a_machine(), *RECORDS, a_machine()]
    assert found.warnings == []


def test_cells_are_finished_by_a_time_a_fault_or_a_disagreement_alone(tmp_path: Path) -> None:
    other = a_case(1024)
    file = write(
        tmp_path / "run.jsonl",
        a_machine(),
        a_canary(),
        a_check(CASE, "no_bias"),
        a_time(CASE, "no_bias"),
        a_check(CASE, "eager", error=1.0),
        a_fault(CASE, "flex"),
        a_check(other, "no_bias"),
        a_memory(other, "no_bias"),
        a_check(other, "eager", stage="after", error=None),
        a_time(other, "flex", pass_number=2),
    )
    assert read(file).finished_cells() == {
        (CASE, "no_bias", 1),
        (CASE, "eager", 1),
        (CASE, "flex", 1),
        (other, "eager", 1),
        (other, "flex", 2),
    }
