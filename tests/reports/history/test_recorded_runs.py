"""Recorded runs of the same code as a history, each as if it were of another commit."""

import math
import statistics
from collections.abc import Mapping, Sequence

import pytest

from benchmarks.verdicts.history_steps import plant_step, recorded_series
from reports.history.timeline import Timeline, timeline
from tests.records import a_plan, a_run
from tests.reports.histories import a_commit, header, header_with

HALF = 30


@pytest.fixture(scope="module")
def series() -> dict[str, list[float]]:
    """Return the recorded series."""
    return recorded_series()


def history(series: Mapping[str, Sequence[float]]) -> Timeline:
    """Return the history of series, whose names stand for variants."""
    names = [name.replace(" ", "-") for name in series]
    plan = a_plan(variants=names)
    runs = zip(*series.values(), strict=True)
    return timeline(
        [
            a_run(
                {name: [math.exp(log)] for name, log in zip(names, logs, strict=True)},
                header=header_with(header(run), plan=plan),
            )
            for run, logs in enumerate(runs)
        ]
    )


def test_sixteen_series_of_sixty_runs_have_no_slower_step(
    series: Mapping[str, Sequence[float]],
) -> None:
    steps = history(series).steps
    assert len(series) == 16
    assert {len(logs) for logs in series.values()} == {60}
    assert not any(step.is_regression for step in steps)
    assert len(steps) == 5


@pytest.mark.parametrize(("effect", "least"), [(0.03, 13), (0.05, 16), (0.10, 16)])
def test_a_planted_step_is_the_codes_and_near_its_size(
    series: Mapping[str, Sequence[float]], effect: float, least: int
) -> None:
    slower = {name: plant_step(logs, HALF, effect) for name, logs in series.items()}
    regressions = [step for step in history(slower).steps if step.is_regression]
    near = {f"commit {a_commit(run)[:12]}" for run in (HALF - 1, HALF, HALF + 1)}
    right = [step for step in regressions if near & set(step.codes)]
    assert len(right) >= least
    assert statistics.median(step.change for step in right) == pytest.approx(effect, abs=0.005)
