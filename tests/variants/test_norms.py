"""Norms by blocks: the numbers that bounds rest on are bounds themselves."""

import math

import pytest
import torch

from variants.norms import BLOCK, effective, largest, smallest_near, unevenness


@pytest.mark.parametrize("length", [64, 100, 300])
@pytest.mark.parametrize("spread", [0.0, 0.3, 3.0])
def test_the_effective_norm_bounds_the_mean_of_exponentials_and_is_under_the_largest(
    length: int, spread: float
) -> None:
    torch.manual_seed(length)
    norms = 5 + spread * torch.rand(2, 3, length)
    longest = torch.tensor([[1.0, 2.0, 0.1], [4.0, 0.5, 0.0]])
    found = effective(norms, longest).double()
    padded = torch.nn.functional.pad(norms.double(), (-length % BLOCK, 0))
    blocks = torch.unflatten(padded, 2, (-1, BLOCK))
    for share in (0.0, 0.3, 1.0):
        scores = (share * longest.double())[..., None]
        mean = (scores[..., None] * blocks).logsumexp(dim=-1) - math.log(BLOCK)
        assert (scores * found >= mean - 1e-5).all()
    assert (found <= largest(norms).double() + 1e-4).all()


def test_the_smallest_near_is_of_a_block_and_those_before_it_alone() -> None:
    numbers = torch.full((1, 1, 5 * BLOCK), 9.0)
    numbers[..., 0], numbers[..., 3 * BLOCK] = 1.0, 4.0
    assert smallest_near(numbers, 3, 2).tolist() == [[[1.0, 4.0, 4.0]]]
    assert smallest_near(numbers, 3, 1).tolist() == [[[9.0, 4.0, 4.0]]]


def test_unevenness_is_the_log_of_the_largest_over_the_smallest() -> None:
    sizes = torch.tensor([[[8.0, 2.0, 1.0]]]).log2()
    assert unevenness(sizes).item() == pytest.approx(math.log(8))
