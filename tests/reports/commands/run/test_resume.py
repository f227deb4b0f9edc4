"""`run --resume`: what it takes, what it refuses before anything is measured, what it mends."""

from pathlib import Path

import msgspec
import pytest

from suite.cases.plan import Plan
from suite.conditions.device import device_for
from suite.records.fingerprint import run_header
from suite.records.record import Record, RunHeader
from tests.fakes.console import assert_refused, bench
from tests.records import a_case, a_check, a_fault, a_machine, a_plan, complete, write

NAMES = ["no_bias", "eager", "flex"]
CASE = a_case(64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of a finished run on an invented machine."""
    plan = a_plan(CASE, variants=NAMES, passes=3)
    return write(tmp_path / "run.jsonl", a_machine(plan), *complete(plan))


@pytest.mark.parametrize(
    "words",
    [
        ["--lengths", "64"],
        ["--seed", "0"],
        ["--device", "cpu"],
        ["--sweep", "smoke"],
        ["--out", "other.jsonl"],
    ],
    ids=lambda words: words[0],
)
def test_resume_takes_no_other_plan(words: list[str], file: Path) -> None:
    before = file.read_bytes()
    line = assert_refused(bench("run", "--resume", file, *words))
    assert f"{words[0]} beside --resume" in line
    assert file.read_bytes() == before


def this_machine(plan: Plan) -> RunHeader:
    """Return the first record of a run here and now."""
    return run_header(plan, ["run"], device_for("cpu"))


def with_other_hardware(header: RunHeader) -> RunHeader:
    """Return the machine with another hardware key."""
    hardware = msgspec.structs.replace(header.hardware, key="cpu-elsewhere-64cores")
    return msgspec.structs.replace(header, hardware=hardware)


def with_older_torch(header: RunHeader) -> RunHeader:
    """Return the machine with another torch."""
    return msgspec.structs.replace(header, software=header.software | {"torch": "2.0.1"})


def with_another_commit(header: RunHeader) -> RunHeader:
    """Return the machine with other code."""
    circumstances = msgspec.structs.replace(header.circumstances, commit="1" * 40)
    return msgspec.structs.replace(header, circumstances=circumstances)


def with_more_threads(header: RunHeader) -> RunHeader:
    """Return the machine with another policy."""
    policy = msgspec.structs.replace(header.policy, threads=640)
    return msgspec.structs.replace(header, policy=policy)


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        (with_other_hardware, ["hardware key", "cpu-elsewhere-64cores"]),
        (with_older_torch, ["torch", "2.0.1"]),
        (with_more_threads, ["threads", "640"]),
        (with_another_commit, ["code", "commit 111111111111"]),
    ],
)
def test_a_run_of_other_conditions_does_not_resume_and_the_field_is_named(
    changed: "object", parts: list[str], tmp_path: Path
) -> None:
    assert callable(changed)
    before = write(tmp_path / "run.jsonl", changed(this_machine(a_plan(CASE))))
    content = before.read_bytes()
    line = assert_refused(bench("run", "--resume", before))
    assert all(part in line for part in parts)
    assert line.count(" and not ") == 1
    assert before.read_bytes() == content


def test_a_run_of_a_variant_that_is_gone_does_not_resume(tmp_path: Path) -> None:
    plan = a_plan(CASE, variants=["no_bias", "flexx"])
    before = write(tmp_path / "run.jsonl", this_machine(plan))
    assert "did you mean flex?" in assert_refused(bench("run", "--resume", before))


@pytest.mark.parametrize(
    ("spoilt", "code", "strict_code"),
    [
        ([], 0, 0),
        ([a_check(CASE, "eager", error=1.0)], 0, 1),
        ([a_fault(CASE, "flex")], 0, 3),
        ([a_check(CASE, "eager", error=1.0), a_fault(CASE, "flex")], 0, 1),
    ],
    ids=["all measured", "one disagrees", "one unsupported", "both"],
)
def test_a_finished_run_resumes_to_its_table_and_strict_judges_it(
    spoilt: list[Record], code: int, strict_code: int, tmp_path: Path
) -> None:
    plan = a_plan(CASE, variants=NAMES)
    before = write(tmp_path / "run.jsonl", this_machine(plan), *complete(plan), *spoilt)
    for words, expected in (([], code), (["--strict"], strict_code)):
        done = bench("run", "--resume", before, *words)
        assert done.returncode == expected, done.stderr
        assert "fastest that agrees" in done.stdout
        assert f"Results: {before}" in done.stdout
        assert "0 cells to measure" in done.stderr


def test_a_torn_file_resumes_with_a_warning_and_is_whole_again(tmp_path: Path) -> None:
    plan = a_plan(CASE, variants=NAMES)
    before = write(tmp_path / "run.jsonl", this_machine(plan), *complete(plan))
    with before.open("ab") as torn:
        torn.write(b'{"record":"tim')
    assert "unfinished" in bench("run", "--resume", before).stderr
    assert "Warning" not in bench("table", before).stderr
