"""The scalings of RoPE are what their papers say, for a head of 64 trained at 2048."""

import math

import pytest
import torch

from suite.quality.methods import SCALINGS, RotaryScaling
from suite.quality.positions.rotary import frequencies, turn
from suite.quality.positions.slopes import slopes_by
from tests.suite.quality.positions.formulas import plane_angle

PLAIN = frequencies("plain", 64, 8.0, 2048)[0]


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_is_rope_itself_up_to_the_trained_length(scaling: RotaryScaling) -> None:
    for factor in (0.5, 1.0):
        angles, size = frequencies(scaling, 64, factor, 2048)
        assert torch.equal(angles, PLAIN)
        assert size == 1.0


@pytest.mark.parametrize("scaling", SCALINGS)
def test_each_plane_turns_as_the_formula_says(scaling: RotaryScaling) -> None:
    angles = frequencies(scaling, 64, 8.0, 2048)[0].tolist()
    wanted = [plane_angle(scaling, plane, 64, 8.0, 2048) for plane in range(32)]
    assert angles == pytest.approx(wanted, rel=1e-12)


def test_ntk_keeps_the_fastest_plane_and_interpolates_the_slowest_wholly() -> None:
    angles = frequencies("ntk", 64, 8.0, 2048)[0]
    assert angles[0] == PLAIN[0]
    assert float(PLAIN[-1] / angles[-1]) == pytest.approx(8.0)


def test_yarn_keeps_fast_planes_and_interpolates_slow_ones() -> None:
    angles, size = frequencies("yarn", 64, 8.0, 2048)
    turns = 2048 * PLAIN / (2 * math.pi)
    assert torch.equal(angles[turns > 40], PLAIN[turns > 40])
    assert torch.allclose(angles[turns < 0.9], PLAIN[turns < 0.9] / 8)
    assert size == pytest.approx(0.1 * math.log(8) + 1)
    assert frequencies("yarn_untempered", 64, 8.0, 2048)[1] == 1.0


def test_a_turned_pair_s_product_depends_on_their_distance_alone() -> None:
    q, k = torch.randn(2, 64, generator=torch.Generator().manual_seed(0)).double()
    products = [
        float(turn(q[None], torch.tensor([i]), PLAIN) @ turn(k[None], torch.tensor([j]), PLAIN).T)
        for i, j in ((7, 3), (1007, 1003))
    ]
    assert products[0] == pytest.approx(products[1], rel=1e-9)


def test_the_literal_rule_differs_from_the_published_code_at_12_heads_alone() -> None:
    assert torch.equal(slopes_by("literal", 8, 16), slopes_by("standard", 8, 16))
    assert not torch.equal(slopes_by("literal", 12, 16), slopes_by("standard", 12, 16))
