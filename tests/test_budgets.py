"""A budget that holds nothing is told as such, with what would do, and leaves no file."""

from pathlib import Path

import pytest

from tests.fakes.console import ROOT, bench

TINY = ("--device", "cpu", "--variants", "eager", "--lengths", "16", "--dtypes", "float32")


@pytest.fixture(autouse=True)
def _in_the_projects_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_run_that_measures_nothing_ends_with_3_and_says_what_budget_would_do(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run.jsonl"
    done = bench("run", *TINY, "--budget", "1s", "--out", out)
    assert (done.returncode, done.stdout) == (3, "")
    error = done.stderr.splitlines()[-1]
    assert error.startswith("Error: --budget 1s ended before anything was measured: 2 variants in ")
    assert error.endswith("give --budget 36s, or fewer variants or passes")
    assert not out.exists()


def test_a_tuning_that_measures_nothing_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.commands.choosing.default_path", lambda _: tmp_path / "t.jsonl")
    done = bench("choose", "--tune", *TINY, "--budget", "1s")
    assert (done.returncode, done.stdout) == (3, "")
    assert "--budget 1s ended before anything was measured" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_pairs_that_fit_in_no_budget_of_10_s_are_refused_with_2(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    done = bench("aa", "--device", "cpu", "--budget", "10s", "--out", out)
    assert (done.returncode, done.stdout) == (2, "")
    error = done.stderr.splitlines()[-1]
    assert error.startswith("Error: --budget 10s: ")
    assert error.endswith("give more, or fewer lengths or variants")
    assert not out.exists()
