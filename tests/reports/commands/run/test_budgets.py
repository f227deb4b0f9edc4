"""A budget that holds nothing is told as such, with what would do, and leaves no file."""

from pathlib import Path

import pytest

from tests.fakes.console import ROOT, bench
from tests.fakes.in_process import start_invented_lanes_in_process
from variants.host.hardware import this_cpu

TINY = ("--device", "cpu", "--variants", "eager", "--lengths", "16", "--dtypes", "float32")


@pytest.fixture(autouse=True)
def _look_at_the_machine_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("suite.conditions.health.WATCH_S", 0.01)


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
    monkeypatch.setattr(
        "reports.commands.choosing.choose.default_path", lambda _: tmp_path / "t.jsonl"
    )
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


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--budget", "1s", "--out"),
        ("choose", "--tune", "--budget", "1s", "--out"),
        ("aa", "--pairs", "4", "--out"),
    ],
    ids=lambda words: words[0],
)
def test_what_the_doctor_warns_of_is_told_before_anything_is_measured(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start_invented_lanes_in_process(monkeypatch)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(
        "reports.commands.choosing.choose.default_path", lambda _: tmp_path / "t.jsonl"
    )
    done = bench(*words, tmp_path / f"{this_cpu().key}.json", *TINY)
    warnings = [line for line in done.stderr.splitlines() if line.startswith("Warning: ")]
    assert "Warning: no C++ compiler: no-such-compiler is not on the PATH; apt-get install g++" in (
        warnings
    )
