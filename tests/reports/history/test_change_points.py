"""Places of steps in figures, whatever these stand for."""

import math
import sys
from random import Random

import pytest
from scipy.stats import ttest_ind

from reports.history.change_points import (
    FEWEST_RUNS,
    NoRuptures,
    chance,
    change_points,
    plausible_places,
    step_effect,
)

SPREAD = 0.005


def figures(*levels: tuple[float, int], seed: int = 0, spread: float = SPREAD) -> list[float]:
    """Return so many noisy figures around each level."""
    random = Random(seed)
    return [level + random.gauss(0, spread) for level, runs in levels for _ in range(runs)]


@pytest.mark.parametrize("shift", [0.03, -0.03, 0.10])
def test_a_shift_has_its_place(shift: float) -> None:
    assert change_points(figures((0, 12), (shift, 8))) == [12]


def test_two_shifts_have_two_places() -> None:
    assert change_points(figures((0, 8), (0.05, 8), (0.02, 8))) == [8, 16]


@pytest.mark.parametrize("runs", [6, 12, 40])
def test_noise_has_no_step(runs: int) -> None:
    assert not any(change_points(figures((0, runs), seed=seed)) for seed in range(20))


def test_neither_has_one_figure_that_is_far_off_nor_have_two() -> None:
    for outliers in (1, 2):
        logs = figures((0, 10), (0.2, outliers), (0, 10))
        assert change_points(logs) == []


def test_five_figures_have_no_step_however_large() -> None:
    logs = figures((0, 3), (1, 3))
    assert change_points(logs) == [3]
    assert len(logs) == FEWEST_RUNS
    assert change_points(logs[1:]) == []


def test_a_certain_step_of_under_one_percent_is_none() -> None:
    assert change_points(figures((0, 20), (0.009, 20), spread=1e-5)) == []
    assert change_points(figures((0, 20), (0.012, 20), spread=1e-5)) == [20]


def test_identical_figures_have_no_step_and_an_exact_shift_has_one() -> None:
    assert change_points([0.5] * 12) == []
    assert change_points([0.5] * 6 + [0.6] * 6) == [6]


def test_a_step_is_judged_by_students_test() -> None:
    before, after = figures((0, 9)), figures((0.02, 4), seed=1)
    effect = step_effect(before, after)
    assert chance(effect) == pytest.approx(ttest_ind(before, after).pvalue)
    assert math.isinf(step_effect(before, after[:1]).standard_error)


def test_a_step_may_be_beside_its_best_place_only_where_it_is_small() -> None:
    assert plausible_places(figures((0, 10), (0.1, 10)), 0, 20) == [10]
    assert {10} < set(plausible_places(figures((0, 10), (0.008, 10)), 0, 20))


def test_without_ruptures_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    with pytest.raises(NoRuptures, match=r"pip install -e .\.\[history\]."):
        change_points(figures((0, 6)))
