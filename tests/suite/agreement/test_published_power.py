"""docs/judge-power.md says what the judge catches: planted errors of its figures are caught."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.judge_power import PLANTS, is_caught
from suite.cases.case import Dtype

PAGE = Path(__file__).resolve().parents[3] / "docs" / "judge-power.md"
SEEDS = range(1000, 1005)
ROW = re.compile(r"\| (float32|bfloat16|float16) +\| (1|4|16) +\| (.*) \|")


class Figure(NamedTuple):
    """The smallest error of a plant that the page says is caught in 95 of 100 seeds."""

    dtype: Dtype
    logit_scale: float
    plant: str
    error: float


def figures() -> list[Figure]:
    """Return the figures of the page's first table."""
    found = []
    for dtype, logit_scale, cells in ROW.findall(PAGE.read_text()):
        errors = [float(cell) for cell in cells.split("|")]
        found += [
            Figure(dtype, float(logit_scale), plant, error)
            for plant, error in zip(PLANTS, errors, strict=True)
        ]
    return found


def test_the_page_has_every_plant_in_every_dtype_at_three_logit_scales() -> None:
    assert len(figures()) == 3 * 3 * len(PLANTS)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("figure", figures(), ids=lambda figure: "-".join(map(str, figure[:3])))
def test_an_error_of_the_published_size_is_caught_and_a_much_smaller_one_is_not(
    figure: Figure,
) -> None:
    plant = PLANTS[figure.plant]
    caught = [is_caught(plant, *figure[:2], 1.5 * figure.error, seed) for seed in SEEDS]
    assert sum(caught) >= len(SEEDS) - 1
    assert not all(is_caught(plant, *figure[:2], figure.error / 50, seed) for seed in SEEDS)
