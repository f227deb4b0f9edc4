"""No row loses more weight or output than is stated; and what can be left out is left out."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.variants.attacks import ATTACKS, HEADS, draw_qk, logs_of_weights
from tests.variants.formula import truth
from tests.variants.triton.interpreted.calls import visited_keys
from tests.variants.triton.interpreted.model import SMALL, model_counts
from variants.problem import alibi_slopes
from variants.triton import launch
from variants.triton.launch import attend
from variants.triton.tiles import Tiles
from variants.windows import tolerance

SLOPES = alibi_slopes(HEADS)


def most_left_out(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *, causal: bool = True, tiles: Tiles = SMALL
) -> tuple[float, float]:
    """Return the largest share of any row's weight that was left out, and of its output's norm."""
    scale = q.shape[3] ** -0.5
    done = attend(q, k, v, slopes, scale, causal=causal, tiles=tiles)
    seen = visited_keys(done, q.shape[2], k.shape[2], tiles, causal=causal)
    weights = logs_of_weights(q, k, slopes, causal=causal).exp()
    values = v.double().repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    summed, lost = weights * seen, weights * ~seen
    by_weight = lost.sum(dim=-1) / summed.sum(dim=-1)
    sizes = (summed @ values).norm(dim=-1)
    by_output = (lost @ values).norm(dim=-1) / sizes.clamp(min=1e-30)
    return float(by_weight.max()), float(by_output.max())


def draw_attack(
    attack: Callable[[Tensor, Tensor], None], dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Return q of 128 queries, k and v of 900 keys, after an attack."""
    q, k = draw_qk(900, 128, dtype=dtype)
    v = torch.randn_like(k)
    attack(q, k)
    return q, k, v


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_no_attack_makes_a_row_lose_weight(
    attack: Callable[[Tensor, Tensor], None], dtype: torch.dtype
) -> None:
    assert max(most_left_out(*draw_attack(attack, dtype), SLOPES)) <= tolerance(dtype)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_nor_does_one_from_either_side_when_attention_is_bidirectional(
    attack: Callable[[Tensor, Tensor], None],
) -> None:
    """The first queries look at keys behind them: everything is mirrored, on 700 queries."""
    q, k = draw_qk(700)
    attack(q, k)
    q, k, v = q[:, :3].flip(2), k[:, :3].flip(2), torch.randn_like(k[:, :3])
    lost = most_left_out(q, k, v, SLOPES[:3], causal=False, tiles=Tiles(128, 64, 4, 2))
    assert max(lost) <= tolerance(torch.float32)


def far_values_that_are_larger(v: Tensor) -> None:
    v[:, :, :500] *= 1e7


def near_values_of_nothing(v: Tensor) -> None:
    v[:, :, 200:] = 0


def near_values_that_cancel(v: Tensor) -> None:
    v[:, :, 1::2] = -v[:, :, ::2]


def one_outlier_value(v: Tensor) -> None:
    v[:, :, 500] *= 1e8


@pytest.mark.parametrize(
    "attack",
    [
        far_values_that_are_larger,
        near_values_of_nothing,
        near_values_that_cancel,
        one_outlier_value,
    ],
    ids=lambda attack: attack.__name__,
)
def test_no_uneven_values_make_a_row_lose_output(attack: Callable[[Tensor], None]) -> None:
    q, k = draw_qk(900, 128, dtype=torch.bfloat16)
    v = torch.randn_like(k)
    attack(v)
    assert max(most_left_out(q, k, v, SLOPES)) <= tolerance(torch.bfloat16)


def heavy_tailed() -> tuple[Tensor, Tensor, Tensor]:
    q, k = draw_qk(900, 128, dtype=torch.bfloat16)
    lengths = torch.distributions.StudentT(2.0).sample((3, 900, 1)).abs().clamp(max=30)
    q, k, v = (
        (part * length[: part.shape[2]]).to(torch.bfloat16)
        for part, length in zip((q, k, torch.randn_like(k)), lengths, strict=True)
    )
    return q, k, v


def test_nor_do_tails_as_heavy_as_those_of_real_models() -> None:
    assert max(most_left_out(*heavy_tailed(), SLOPES)) <= tolerance(torch.bfloat16)


def one_direction(keys: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every score is its bound and all values are alike, so the bound is what is left out."""
    q, k = torch.zeros(1, 1, 64, 32), torch.zeros(1, 1, keys, 32)
    q[..., 0] = k[..., 0] = 1
    return q, k, torch.ones_like(k)


def test_a_bound_that_is_reached_leaves_out_nearly_what_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than 512 keys are needed, so the last count decides."""
    monkeypatch.setattr(launch, "tolerance", lambda _: 0.1)
    lost = most_left_out(*one_direction(2000), torch.tensor([0.004]))
    of_a_block = math.exp(-64 * 0.004)
    assert 0.1 * of_a_block * 0.9 <= max(lost) <= 0.1


@pytest.mark.parametrize("slope", [0.004, 0.02])
def test_what_is_planted_is_seen(slope: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "tolerance", lambda _: 0.1 * 2 * math.exp(64 * slope))
    assert max(most_left_out(*one_direction(2000), torch.tensor([slope]))) > 0.1


@pytest.mark.parametrize("size", [6e4, 1e-7])
def test_at_the_ends_of_float16_nothing_of_weight_is_lost(size: float) -> None:
    q, k = draw_qk(300, dtype=torch.float16)
    q, k = q.clamp(-1, 1) * size, k.clamp(-1, 1) * size
    assert most_left_out(q, k, k, SLOPES)[0] <= tolerance(torch.float16)


def test_nor_where_many_far_keys_add_up() -> None:
    q, k = torch.ones(1, 1, 2, 32), torch.ones(1, 1, 1900, 32)
    k[:, :, -602:-2] = -1  # so that a row's own key is nearly all of its weight
    lost = most_left_out(q, k, torch.ones_like(k), torch.tensor([2.0**-5]))
    assert max(lost) <= tolerance(torch.float32)


def test_nor_where_the_last_query_of_a_block_alone_needs_more() -> None:
    q, k = torch.zeros(1, 1, 320, 32), torch.zeros(1, 1, 320, 32)
    q[:, :, -1] = 1.0
    k[:, :, -128:] = -60 / 32**0.5
    lost = most_left_out(q, k, torch.ones_like(k), torch.tensor([0.5]))
    assert max(lost) <= tolerance(torch.float32)


def test_nor_where_one_query_of_a_block_alone_is_long() -> None:
    q, k = torch.full((1, 1, 64, 32), 1e-3), torch.zeros(1, 1, 900, 32)
    q[:, :, 30, 0] = k[:, :, 100, 0] = 19.2  # a score of 65, at a distance whose bias is -54
    lost = most_left_out(q, k, torch.ones_like(k), torch.tensor([0.07]))
    assert max(lost) <= tolerance(torch.float32)


@pytest.mark.parametrize("slope", [0.0, -0.1, 1e-45, 1e-38, 200.0, math.nan])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
def test_slopes_may_be_anything(slope: float, *, causal: bool) -> None:
    q, k = draw_qk(200)
    q, k, slopes = q[:, :1], k[:, :1], torch.tensor([slope])
    found = attend(q, k, k, slopes, 32**-0.5, causal=causal, tiles=SMALL).out
    wanted = truth(q, k, k, slopes, causal=causal)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_far_key_that_is_no_number_reaches_every_later_row(wrong: float) -> None:
    q, k = draw_qk(400)
    q[..., 0] = 1.0
    k[:, :, 3, 0] = wrong
    v = k.nan_to_num(0, 0, 0)
    out = attend(q, k, v, SLOPES, 32**-0.5, causal=True, tiles=SMALL).out
    assert out[:, :, 3:].isnan().all()
    assert out[:, :, :3].isfinite().all()


def test_a_row_whose_own_keys_are_out_of_the_question_has_the_others() -> None:
    q, k = torch.ones(1, 1, 200, 32), torch.zeros(1, 1, 200, 32)
    k[:, :, 128:] = -math.inf
    v, slopes = torch.randn(1, 1, 200, 32), torch.tensor([0.1])
    out = attend(q, k, v, slopes, 32**-0.5, causal=True, tiles=SMALL).out
    torch.testing.assert_close(out.double(), truth(q, k, v, slopes), rtol=1e-4, atol=1e-5)


def test_what_a_later_key_holds_changes_no_bit_of_a_row() -> None:
    q, k = draw_qk(200)
    outs = []
    for wrong in (0.5, 1e30):
        k[:, :, 150:] = wrong
        outs.append(attend(q, k, k, SLOPES, 32**-0.5, causal=True, tiles=SMALL).out)
    assert torch.equal(outs[0][:, :, :128], outs[1][:, :, :128])


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("tiles", [SMALL, Tiles(32, 128, 4, 2), Tiles(128, 32, 4, 2)])
def test_it_visits_the_tiles_that_the_rule_says(tiles: Tiles, *, causal: bool) -> None:
    q, k = draw_qk(1100, 1100 if tiles == SMALL and causal else 400, dtype=torch.bfloat16)
    q, k = q[:, 1:3], k[:, 1:3]
    v = torch.randn_like(k)
    done = attend(q, k, v, SLOPES[1:3], 32**-0.5, causal=causal, tiles=tiles)
    share = tolerance(torch.bfloat16) * 2**-0.05 / (1 if causal else 2)
    wanted = model_counts(q, k, v, SLOPES[1:3], share, tiles, causal=causal)
    found = done.visited.flip(1)
    assert (found - wanted).abs().max() <= 1
    assert (found == wanted).float().mean() > 0.95
    most = -(-1100 // tiles.keys)
    assert 0.02 < found.float().mean() / most < 0.6


def test_rows_that_fill_up_a_block_look_no_further_than_the_last_query() -> None:
    q, k = torch.ones(1, 1, 20, 32), -torch.ones(1, 1, 1900, 32)
    k[:, :, -20:] = 5.0
    done = attend(
        q, k, torch.ones_like(k), torch.tensor([2.0**-5]), 32**-0.5, causal=True, tiles=SMALL
    )
    assert done.visited.sum() <= 5
