"""No damage to a file ends a command in a traceback: it shows what it can, or refuses in a line."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.choosing.candidates import Rules
from reports.choosing.choose import choose
from reports.commands.results.export import FILE_EXPORTS, FOLDER_EXPORTS
from reports.commands.results.table import FORMATS, METRICS
from suite.records.record import Record, Series, Time
from suite.records.store import Results
from tests.effort import examples
from tests.fakes.console import Exit, bench
from tests.records import (
    a_canary,
    a_case,
    a_check,
    a_fault,
    a_limit,
    a_machine,
    a_memory,
    a_pair,
    a_plan,
    a_versus,
    results,
)
from tests.reports.commands.damage import damaged_content
from tests.reports.tunings import Times, memories, tuning

KEY = "cpu-invented-2cores"
QUESTION = ("--hardware", KEY, "--heads", "8", "--head-dim", "64", "--length", "64,700,512,9000")

calmly = settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def a_tuning() -> Results:
    """Return a run that has a record of every kind that a run can have."""
    times: Times = {
        "eager": {512: 1.0, 724: 2.0, 1024: 4.0},
        "flex": {512: 2.1, 724: (1.0, 3.0, 2.0), 1024: 4.4},
    }
    file = tuning(times, *memories({"eager": 9, "flex": 5}))
    others: list[Record] = [
        *(a_canary(number) for number in (1, 2, 3)),
        a_limit("bfloat16"),
        a_fault(a_case(1024, "bfloat16"), "sdpa_key"),
    ]
    return file._replace(records=[*_with_series(file.records), *others])


def _with_series(records: list[Record]) -> list[Record]:
    turns = ((1, (1000, 2000)), (2, (3000,)))
    series = tuple(Series(name, turns) for name in ("device", "issue", "wall"))
    return [
        msgspec.structs.replace(record, others=series, density=0.5)
        if isinstance(record, Time)
        else record
        for record in records
    ]


def some_pairs() -> Results:
    """Return a file of pairs that has a record of every kind that such a file can have."""
    case = a_case()
    header = a_machine(a_plan(case, variants=("eager", "flex")))
    base: list[Record] = [
        msgspec.structs.replace(a_check(case, "eager"), side="base"),
        msgspec.structs.replace(a_memory(case, "eager"), side="base"),
    ]
    pairs = [
        a_pair(case, name, number, stage=stage, ratio=1.2 if name == "flex" else 1.0)
        for name in ("eager", "flex")
        for stage in ("first", "second")
        for number in range(1, 7)
    ]
    head: list[Record] = [a_check(case, "eager"), a_memory(case, "eager"), a_check(case, "flex")]
    return results(header, a_versus(base="itself"), *base, *head, *pairs)


def lines_of(file: Results) -> list[bytes]:
    """Return a file's lines."""
    return [msgspec.json.encode(record) for record in file.records]


TUNING, PAIRS = lines_of(a_tuning()), lines_of(some_pairs())
SELECTION = [msgspec.json.encode(choose([a_tuning()], Rules()).selection)]


def assert_no_traceback(done: Exit, *codes: int) -> None:
    """Check that a command ended with one of these codes or a refusal in a line."""
    assert done.returncode in {0, 2, 3, *codes}, done
    if done.returncode in {2, 3}:
        assert done.stderr.splitlines()[-1].startswith("Error: "), done
    assert "a bug of this program" not in done.stderr, done


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, in which the user's cache is too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@calmly
@given(
    content=damaged_content(TUNING),
    form=st.sampled_from(FORMATS),
    metric=st.sampled_from(METRICS),
    objective=st.sampled_from(["eager", "memory", "graph"]),
)
def test_a_damaged_run_is_shown_chosen_from_priced_and_compared(
    folder: Path, content: bytes, form: str, metric: str, objective: str
) -> None:
    (folder / "whole.jsonl").write_bytes(b"\n".join(TUNING) + b"\n")
    whole, file = folder / "whole.jsonl", folder / "damaged.jsonl"
    file.write_bytes(content)
    assert_no_traceback(bench("table", file, "--format", form, "--metric", metric))
    assert_no_traceback(bench("choose", file, "--objective", objective))
    assert_no_traceback(bench("best", *QUESTION, "--explain"))
    assert_no_traceback(bench("regret", file))
    assert_no_traceback(bench("regret", whole, "--unseen", file, "--format", "json"))
    assert_no_traceback(bench("compare", whole, file), 1)
    assert_no_traceback(bench("compare", file, whole, "--format", "json"), 1)


@calmly
@given(content=damaged_content(TUNING), form=st.sampled_from([*FILE_EXPORTS, *FOLDER_EXPORTS]))
def test_a_damaged_run_is_exported(folder: Path, content: bytes, form: str) -> None:
    file = folder / "damaged.jsonl"
    file.write_bytes(content)
    out = folder / f"{form}-{len(list(folder.iterdir()))}"
    assert_no_traceback(bench("export", file, "--format", form, "--out", out))


@calmly
@given(content=damaged_content(TUNING), form=st.sampled_from(["simple", "github", "json"]))
def test_a_damaged_run_has_its_place_in_a_history(folder: Path, content: bytes, form: str) -> None:
    past = folder / "past"
    past.mkdir(exist_ok=True)
    for day in range(1, 7):
        header = msgspec.structs.replace(a_tuning().header, started=f"2026-02-0{day}T00:00:00")
        lines = [msgspec.json.encode(header), *TUNING[1:]]
        (past / f"{day}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (past / "damaged.jsonl").write_bytes(content)
    assert_no_traceback(bench("history", past, "--format", form, "--fail"), 1)


@calmly
@given(content=damaged_content(PAIRS), form=st.sampled_from(["simple", "github", "json"]))
def test_a_damaged_file_of_pairs_is_judged(folder: Path, content: bytes, form: str) -> None:
    file = folder / "damaged.jsonl"
    file.write_bytes(content)
    assert_no_traceback(bench("compare", file, "--format", form), 1)
    assert_no_traceback(bench("aa", "--pairs", "0", file, "--format", form), 1)
    assert_no_traceback(bench("table", file))
    assert_no_traceback(bench("choose", file))
    assert_no_traceback(bench("regret", file))


@calmly
@given(content=damaged_content(SELECTION), form=st.sampled_from(["simple", "json"]))
def test_a_damaged_selection_is_asked_and_replaced(folder: Path, content: bytes, form: str) -> None:
    file = folder / "cache" / "alibi-bench" / "selections" / f"{KEY}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    assert_no_traceback(bench("best", *QUESTION, "--format", form))
    (folder / "whole.jsonl").write_bytes(b"\n".join(TUNING) + b"\n")
    assert_no_traceback(bench("choose", folder / "whole.jsonl"))
