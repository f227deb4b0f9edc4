"""Sinusoids are their formula, and a position beyond the trained length looks like no other."""

import math

import pytest
import torch

from suite.quality.positions.sinusoids import sinusoids

WIDTH = 8
TABLE = sinusoids(64, WIDTH, torch.device("cpu"))


@pytest.mark.parametrize("position", [0, 1, 63])
def test_a_row_has_the_sines_and_then_the_cosines_of_its_position(position: int) -> None:
    rates = [10000.0 ** (-channel / (WIDTH // 2 - 1)) for channel in range(WIDTH // 2)]
    sines = [math.sin(position * rate) for rate in rates]
    cosines = [math.cos(position * rate) for rate in rates]
    assert TABLE[position].tolist() == pytest.approx(sines + cosines, abs=1e-12)


def test_no_position_beyond_the_trained_length_looks_like_one_before() -> None:
    distances = torch.cdist(TABLE[16:], TABLE[:16])
    assert distances.min() > 1e-3
