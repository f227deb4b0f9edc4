"""A row's maximum stays fixed where norms certify that no score to come is far over it."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.variants.attacks import draw_qk
from tests.variants.formula import truth
from tests.variants.triton.interpreted.model import SMALL
from variants.problem import alibi_slopes
from variants.triton import launch
from variants.triton.kernel import forward
from variants.triton.launch import attend
from variants.triton.tiles import Tiles

SCALE = 32**-0.5
EPS = torch.finfo(torch.bfloat16).eps
LOG2_E = math.log2(math.e)
Problem = tuple[Tensor, Tensor, Tensor, Tensor]  # q, k, v and slopes


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the tiles that each form of the loop adds; masked ones are among the running ones."""
    counts: Counter[str] = Counter()
    for form in ("add_bounded_tile", "add_tile"):
        add: Any = getattr(forward, form)

        def counted(*args: Any, form: str = form, add: Any = add) -> Any:
            counts[form] += 1
            return add(*args)

        monkeypatch.setattr(forward, form, counted)
    return counts


def one_far_score(log2: float, dtype: torch.dtype) -> Problem:
    """Return q of 64 queries, k, v of 400 keys and a slope.

    Key 100 has a score of `log2`, in powers of 2, and others have 0.
    """
    q, k = torch.zeros(1, 1, 64, 32), torch.zeros(1, 1, 400, 32)
    q[..., 0], k[:, :, 100, 0] = 8.0, log2 / LOG2_E / SCALE / 8.0
    torch.manual_seed(0)
    v = torch.randn(1, 1, 400, 32)
    return q.to(dtype), k.to(dtype), v.to(dtype), torch.tensor([0.0])


def error(inputs: Problem, *, causal: bool = True, tiles: Tiles = SMALL) -> float:
    """Return the largest error of a row, over its norm; infinite where the answer is."""
    out = attend(*inputs, SCALE, causal=causal, tiles=tiles).out.double()
    wanted = truth(*inputs, causal=causal)
    off = (out - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    return float(off.nan_to_num(math.inf, math.inf).max())


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
def test_on_normal_numbers_every_whole_tile_keeps_it(turns: Counter[str], *, causal: bool) -> None:
    q, k = draw_qk(320, dtype=torch.bfloat16)
    done = attend(q, k, k, alibi_slopes(4), SCALE, causal=causal, tiles=SMALL)
    assert turns["add_bounded_tile"] == done.visited.sum() > 0


@pytest.mark.parametrize(
    ("log2", "dtype", "is_kept"),
    [
        (59.0, torch.bfloat16, True),
        (14.9, torch.float16, True),
        (62.0, torch.bfloat16, False),
        (300.0, torch.bfloat16, False),
        (40000.0, torch.bfloat16, False),  # of which float32 has too few digits for a bound
        (17.0, torch.float16, False),
    ],
)
def test_it_is_kept_up_to_the_limit_and_right_on_both_sides(
    log2: float, dtype: torch.dtype, turns: Counter[str], *, is_kept: bool
) -> None:
    assert error(one_far_score(log2, dtype)) < 4 * torch.finfo(dtype).eps
    assert (turns["add_bounded_tile"] > 0) == is_kept


@pytest.mark.parametrize(("log2", "dtype"), [(300.0, torch.bfloat16), (17.0, torch.float16)])
def test_kept_beyond_the_limit_it_would_overflow(
    log2: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "log2_limit", lambda _: 1e4)
    assert error(one_far_score(log2, dtype)) == math.inf


def test_large_values_take_from_the_room_for_weights(turns: Counter[str]) -> None:
    q, k, v, slopes = one_far_score(59.0, torch.bfloat16)
    k[:, :, :320, 0] = k[:, :, 100, 0]
    assert error((q, k, torch.full_like(v, 2.0**61), slopes)) < 4 * EPS
    assert turns["add_bounded_tile"] == 0


def test_values_of_usual_size_take_nothing(turns: Counter[str]) -> None:
    q, k, v, slopes = one_far_score(50.0, torch.bfloat16)
    v *= 2.0**30
    assert error((q, k, v, slopes)) < 4 * EPS
    assert turns["add_bounded_tile"] > 0


def test_under_a_negative_slope_the_far_keys_of_a_block_count() -> None:
    """The nearest key of the block before the queries weighs 2^4, and the farthest 2^277."""
    q, k, v, _ = one_far_score(0.0, torch.bfloat16)
    assert error((q, k[:, :, :128], v[:, :, :128], torch.tensor([-3.0]))) < 4 * EPS


@pytest.mark.parametrize("key", [70, 120])
def test_keys_beside_the_own_ones_count_where_tiles_are_smaller_than_blocks(key: int) -> None:
    """The long queries are 96 to 111; 64 to 95 and 112 to 127 are no whole blocks beside them."""
    q, k, v, slopes = one_far_score(0.0, torch.bfloat16)
    k[:, :, key, 0] = 300.0
    long = q[:, :, :16]
    q = torch.zeros_like(k[:, :, :160])
    q[:, :, 96:112] = long
    inputs = (q, k[:, :, :160], v[:, :, :160], slopes)
    assert error(inputs, causal=False, tiles=Tiles(16, 16, 4, 2)) < 4 * EPS


def test_maxima_with_too_few_digits_certify_nothing(turns: Counter[str]) -> None:
    q, k, v, _ = one_far_score(0.0, torch.bfloat16)
    k[:, :, 320:, 0] = -1e5 / SCALE / 8.0
    assert error((q, k, v, torch.tensor([1e5]))) < 4 * EPS
    assert turns["add_tile"] > 0 == turns["add_bounded_tile"]


def test_there_is_a_running_maximum_alone_in_float32(turns: Counter[str]) -> None:
    assert error(one_far_score(10.0, torch.float32)) < 1e-5
    assert turns["add_tile"] > 0 == turns["add_bounded_tile"]


def test_nor_is_there_another_for_sm_100(
    turns: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "capability", lambda _: 100)
    assert error(one_far_score(10.0, torch.bfloat16)) < 4 * EPS
    assert turns["add_tile"] > 0 == turns["add_bounded_tile"]
