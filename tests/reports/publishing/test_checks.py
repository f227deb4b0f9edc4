"""A good file has no finding; each thing that can be wrong has one, with what mends it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from reports.publishing.checks import RULES, findings
from suite.cases.case import Dtype
from suite.records.record import Agreement, Record, RunHeader
from suite.records.store import Results, read
from tests.records import a_case, a_cell, a_check, a_fault, a_pair, a_time, a_versus, write
from tests.reports.publishing.good_file import CASE, a_good_file, a_header, good_records

Change = Callable[[RunHeader, list[Record]], tuple[RunHeader, Sequence[Record]]]


def with_circumstances(**changes: object) -> Change:
    def change(header: RunHeader, records: list[Record]) -> tuple[RunHeader, list[Record]]:
        now = msgspec.structs.replace(header.circumstances, **changes)
        return msgspec.structs.replace(header, circumstances=now), records

    return change


def with_another_commit(header: RunHeader, records: list[Record]) -> tuple[RunHeader, list[Record]]:
    return header, [*records, a_header(commit="2" * 40)]


def with_two_threads_of_four(
    header: RunHeader, records: list[Record]
) -> tuple[RunHeader, list[Record]]:
    rules = msgspec.structs.replace(header.policy, omp_wait_policy="active")
    return msgspec.structs.replace(header, policy=rules), records


def with_one_pass(header: RunHeader, records: list[Record]) -> tuple[RunHeader, list[Record]]:
    first = [each for each in records if getattr(each, "pass_number", 1) == 1]
    return a_header(passes=1), first


def without_the_last_cell(
    header: RunHeader, records: list[Record]
) -> tuple[RunHeader, list[Record]]:
    return header, records[:-3]


def without_any_cell(header: RunHeader, records: list[Record]) -> tuple[RunHeader, list[Record]]:
    return header, records[:1]


def without_its_checks(header: RunHeader, records: list[Record]) -> tuple[RunHeader, list[Record]]:
    return header, [each for each in records if not isinstance(each, Agreement)]


def with_a_disagreement(header: RunHeader, records: list[Record]) -> tuple[RunHeader, list[Record]]:
    return header, [*records, a_check(CASE, "eager", 2, stage="after", error=1e-3)]


def with_moved_canaries(header: RunHeader, records: list[Record]) -> tuple[RunHeader, list[Record]]:
    return header, good_records(canaries_ms=(7.0, 7.0, 8.5))


def without_canaries(header: RunHeader, records: list[Record]) -> tuple[RunHeader, list[Record]]:
    return header, [each for each in records if type(each).__name__ != "Canary"]


def with_a_path(header: RunHeader, records: list[Record]) -> tuple[RunHeader, list[Record]]:
    return msgspec.structs.replace(header, argv=("run", "--out=/home/ada/x.jsonl")), records


WRONG: dict[str, tuple[Change, str, str]] = {
    "is_of_one_commit, changed": (
        with_circumstances(uncommitted=True, code_digest="abc"),
        "uncommitted changes",
        "git stash",
    ),
    "is_of_one_commit, no git": (
        with_circumstances(commit="tree-0123"),
        "outside of a git clone",
        "measure again in a clone",
    ),
    "is_of_one_commit, two": (with_another_commit, "2 commits", "one commit"),
    "has_published_policy": (
        with_two_threads_of_four,
        "omp_wait_policy active, published is default",
        "unset OMP_WAIT_POLICY",
    ),
    "has_enough_passes, one": (with_one_pass, "1 pass, and an interval takes 3", "--passes 3"),
    "has_enough_passes, cell": (
        without_the_last_cell,
        "1 of 9 cells are missing",
        "run --resume",
    ),
    "has_enough_passes, none": (without_any_cell, "no cell is measured", "run --resume"),
    "agrees, unchecked": (without_its_checks, "9 of 9 times have no check", "measure again"),
    "agrees, eager": (
        with_a_disagreement,
        "eager disagrees with the oracle in n512-h8-d64",
        "without eager",
    ),
    "has_quiet_canary, moved": (with_moved_canaries, "moved by 1.21x", "doctor"),
    "has_quiet_canary, none": (without_canaries, "no canary", "newest code"),
    "is_private": (with_a_path, "a path in it: /home/ada/x.jsonl", "sed -i -e 's#/home/ada/##g'"),
}


def rules_broken(results: Results) -> set[str]:
    return {rule.__name__ for rule in RULES if list(rule(results))}


def test_a_good_file_has_no_finding(tmp_path: Path) -> None:
    assert findings(a_good_file(tmp_path / "good.jsonl")) == []


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_breaks_its_rule_alone_and_is_said_with_a_remedy(
    name: str, tmp_path: Path
) -> None:
    spoil, what, mend = WRONG[name]
    header, records = spoil(a_header(), good_records())
    results = read(write(tmp_path / "wrong.jsonl", header, *records))
    assert rules_broken(results) == {name.partition(",")[0]}
    (finding,) = findings(results)
    assert what in finding.what
    assert mend in finding.mend


def test_every_rule_has_a_file_that_breaks_it() -> None:
    tested = {name.partition(",")[0] for name in WRONG} | {"is_undamaged"}
    assert {rule.__name__ for rule in RULES} == tested


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = a_good_file(tmp_path / "damaged.jsonl").path
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, '{"record":"time"}\n']))
    (finding,) = findings(read(path))
    assert finding.what.startswith(f"line {len(lines) + 1} is damaged")


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.publishing.checks.LARGEST_BYTES", 1000)
    (finding,) = findings(a_good_file(tmp_path / "large.jsonl"))
    assert "MiB" in finding.what


def test_a_file_of_pairs_is_no_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", a_header(), a_versus(), a_pair(CASE, "eager"))
    (finding,) = findings(read(path))
    assert "a file of pairs" in finding.what


def test_a_case_that_a_budget_left_out_is_no_fault(tmp_path: Path) -> None:
    header = a_header()
    both = msgspec.structs.replace(header.plan, cases=(CASE, a_case(1024)))
    whole = msgspec.structs.replace(header, plan=both)
    assert findings(read(write(tmp_path / "part.jsonl", whole, *good_records()))) == []


@pytest.mark.parametrize("variant", ["bloom", "sdpa_key"])
def test_what_disagrees_by_design_or_is_others_own_can_be_published(
    variant: str, tmp_path: Path
) -> None:
    plan = msgspec.structs.replace(a_header().plan, variants=("no_bias", "eager", variant))
    header = msgspec.structs.replace(a_header(), plan=plan)
    others = [each for each in good_records() if getattr(each, "variant", "") != "sdpa_key"]
    checks = [a_check(CASE, variant, number, error=9e-4) for number in (1, 2, 3)]
    assert findings(read(write(tmp_path / "it.jsonl", header, *others, *checks))) == []


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 9e-4), ("float32", 2e-3)])
def test_a_design_excuses_its_own_dtype_and_errors_of_its_size(
    dtype: Dtype, error: float, tmp_path: Path
) -> None:
    case = a_case(dtype=dtype)
    plan = msgspec.structs.replace(a_header().plan, cases=(case,), variants=("no_bias", "sdpa_key"))
    header = msgspec.structs.replace(a_header(), plan=plan)
    canaries = [each for each in good_records() if type(each).__name__ == "Canary"]
    checks = [a_check(case, "sdpa_key", number, error=error) for number in (1, 2, 3)]
    baseline = [each for number in (1, 2, 3) for each in a_cell(case, "no_bias", 1.0, number)]
    results = read(write(tmp_path / "it.jsonl", header, *canaries, *checks, *baseline))
    assert rules_broken(results) == {"agrees"}


def test_a_time_whose_cell_failed_after_it_needs_no_check(tmp_path: Path) -> None:
    failed: list[Record] = [
        a_time(CASE, "sdpa_key", 1.0, 3),
        a_fault(CASE, "sdpa_key", 3, status="crashed"),
    ]
    records = [*good_records()[:-3], *failed]
    assert findings(read(write(tmp_path / "it.jsonl", a_header(), *records))) == []
