"""docs/judge-power.md says what the judge catches: planted errors of its figures are caught."""

import re
from itertools import product
from pathlib import Path

import pytest

from benchmarks.verdicts.judge_power import PLANTS, is_caught
from suite.cases.case import DTYPES, Dtype

PAGE = Path(__file__).resolve().parents[3] / "docs" / "judge-power.md"
SEEDS = range(1000, 1005)
LOGIT_SCALES = (1.0, 4.0, 16.0)
ROW = re.compile(r"\| (float32|bfloat16|float16) +\| (1|4|16) +\| (.*) \|")


def figures() -> dict[tuple[str, Dtype, float], float]:
    """Return the smallest error that the page says is caught, by plant, dtype and logit scale."""
    return {
        (plant, dtype, float(logit_scale)): float(error)
        for dtype, logit_scale, cells in ROW.findall(PAGE.read_text())
        for plant, error in zip(PLANTS, cells.split("|"), strict=True)
    }


def test_the_page_has_every_plant_in_every_dtype_at_three_logit_scales() -> None:
    assert figures().keys() == set(product(PLANTS, DTYPES, LOGIT_SCALES))


@pytest.mark.matrix
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("logit_scale", LOGIT_SCALES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("plant", PLANTS)
def test_an_error_of_the_published_size_is_caught_and_a_much_smaller_one_is_not(
    plant: str, dtype: Dtype, logit_scale: float
) -> None:
    """The page gives the smallest error of a plant that is caught in 95 of 100 seeds."""
    error = figures()[plant, dtype, logit_scale]
    planted = PLANTS[plant]
    caught = [is_caught(planted, dtype, logit_scale, 1.5 * error, seed) for seed in SEEDS]
    assert sum(caught) >= len(SEEDS) - 1
    assert not all(is_caught(planted, dtype, logit_scale, error / 50, seed) for seed in SEEDS)
