"""What a device publishes is of one commit of the measured code, and nothing else stays."""

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.publish import LEAST_S, NO_CELL, SETS, Measure, measure_sets, remove_superseded
from suite.cases.plan import Plan
from suite.records.store import Store
from tests.records import a_case, a_machine, complete


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


def test_it_ends_in_time_with_what_it_has_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan((a_case(),), ("no_bias", "eager"), 1, 0, 60.0)
    now, limits_s = [0.0], []

    def measure(path: Path, _: str, limit_s: float) -> int:
        limits_s.append(limit_s)
        now[0] += min(1000, limit_s)
        with closing(Store(path)) as store:
            store.append(
                [a_machine(plan), *complete(plan)] if limit_s >= 1000 else [a_machine(plan)]
            )
        return 0

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    _, second, third, *others = SETS
    assert measure_sets(tmp_path, 1500, measure) == [second, third, *others]
    assert measure_sets(tmp_path, LEAST_S - 1, measure) == [second, third, *others]
    (tmp_path / f"{second}.jsonl").unlink()
    assert measure_sets(tmp_path, 2000 + LEAST_S - 1, measure) == others
    assert limits_s == [1500, 500, 2000 + LEAST_S - 1, 1000 + LEAST_S - 1]
    assert measure_sets(tmp_path, 1000 * len(others), measure) == []


def measure_in_vain(code: int, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Return how a run ends with a code after 70 seconds of a clock that nothing else turns on."""
    now = [0.0]

    def measure(*_: object) -> int:
        now[0] += 70
        return code

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return measure


@pytest.mark.parametrize("limit_s", [1000, LEAST_S + 60])
def test_a_run_whose_budget_held_no_cell_is_left_for_the_next_call(
    limit_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = measure_in_vain(NO_CELL, monkeypatch)
    assert measure_sets(tmp_path, limit_s, measure) == list(SETS)


def test_a_run_that_fails_ends_it_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = measure_in_vain(2, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        measure_sets(tmp_path, LEAST_S + 60, measure)
    assert ended.value.code == 2
