"""Keys that are split among programs: answers, what is left out, and the tiles that are visited."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tests.variants.attacks import ATTACKS, DTYPES, draw_qk, logs_of_weights
from tests.variants.batches.oracle import Answer, answer
from tests.variants.formula import assert_close, tensors
from tests.variants.triton.interpreted.model import NEAR, SMALL, model_split_counts
from variants.batches.cache_norms import cache_norms
from variants.problem import alibi_slopes
from variants.triton import launch
from variants.triton.launch import LaunchResult
from variants.triton.launch_split import (
    SplitPlan,
    attend_split,
    is_split,
    plan_for,
    splits_for,
)
from variants.triton.tiles import Tiles
from variants.windows import tolerance

SLOPES = alibi_slopes(4)


def caches(kv_lens: Tensor, q_len: int) -> Tensor:
    """Return the runs of sequences that fill their caches up to `kv_lens`."""
    none = torch.zeros_like(kv_lens)
    lines = (torch.arange(len(kv_lens)), none, none + q_len, none, kv_lens, kv_lens - q_len)
    return torch.stack(lines, dim=1).int()


def assert_right(done: LaunchResult, wanted: Answer, dtype: torch.dtype) -> None:
    assert_close(done.out, wanted.out, dtype)
    error = 1e-5 if dtype == torch.float32 else 2e-3
    torch.testing.assert_close(
        done.log_sum_exp.double(), wanted.log_sum_exp, rtol=error, atol=error
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("has_norms", [True, False], ids=["norms", "no norms"])
@pytest.mark.parametrize("queries", [1, 4, 16])
def test_steps_of_caches_are_answered(queries: int, dtype: torch.dtype, *, has_norms: bool) -> None:
    """Three heads share a kv head; slots that are free hold NaN."""
    q, k, v = tensors(6, 2, queries, 203, 32, dtype)
    kv_lens, slopes = torch.tensor([203, 90]), alibi_slopes(6)
    is_free = torch.arange(203) >= kv_lens[:, None]
    k, v = (part.masked_fill(is_free[:, None, :, None], math.nan) for part in (k, v))
    norms = cache_norms(k, v, kv_lens=kv_lens) if has_norms else None
    done = attend_split(
        *(q, k, v, slopes, 32**-0.5),
        runs=caches(kv_lens, queries),
        norms=norms,
        plan=SplitPlan(3, Tiles(64, 64, 4, 2), splits=3),
    )
    assert_right(done, answer(q, k, v, slopes, kv_lens=kv_lens), dtype)


class Sizes(NamedTuple):
    """Sizes of a problem, and how its work is shared."""

    heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    head_dim: int
    plan: SplitPlan


SHAPES = {
    "one token": Sizes(1, 1, 1, 1, 16, SplitPlan(1, Tiles(16, 64, 4, 2), 2)),
    "an odd head": Sizes(3, 3, 1, 200, 17, SplitPlan(1, Tiles(16, 64, 4, 2), 2)),
    "a wide head": Sizes(2, 1, 2, 150, 256, SplitPlan(2, Tiles(16, 32, 4, 2), 2)),
    "small tiles": Sizes(4, 2, 5, 301, 32, SplitPlan(2, Tiles(16, 16, 4, 2), 4)),
    "large tiles": Sizes(4, 2, 5, 301, 32, SplitPlan(2, Tiles(16, 128, 4, 2), 4)),
    "heads in several blocks": Sizes(12, 1, 5, 333, 32, SplitPlan(12, Tiles(16, 64, 4, 2), 2)),
    "one split": Sizes(4, 1, 3, 333, 32, SplitPlan(4, Tiles(16, 64, 4, 2), 1)),
    "more splits than tiles": Sizes(4, 1, 3, 333, 32, SplitPlan(4, Tiles(16, 64, 4, 2), 9)),
    "queries before the first key": Sizes(2, 2, 9, 5, 32, SplitPlan(1, Tiles(16, 64, 4, 2), 2)),
    "a prefill": Sizes(2, 1, 150, 150, 32, SplitPlan(1, Tiles(64, 64, 4, 2), 2)),
    "a chunk": Sizes(2, 1, 70, 361, 32, SplitPlan(1, Tiles(32, 128, 4, 2), 3)),
}


@pytest.mark.parametrize("has_norms", [True, False], ids=["norms", "no norms"])
@pytest.mark.parametrize("shape", SHAPES)
def test_problems_of_any_shape_are_answered(shape: str, *, has_norms: bool) -> None:
    heads, kv_heads, q_len, kv_len, head_dim, plan = SHAPES[shape]
    q, k, v = tensors(heads, kv_heads, q_len, kv_len, head_dim)
    slopes = alibi_slopes(heads)
    norms = cache_norms(k, v) if has_norms else None
    done = attend_split(q, k, v, slopes, head_dim**-0.5, norms=norms, plan=plan)
    assert_right(done, answer(q, k, v, slopes), torch.float32)


def test_slopes_may_be_of_each_batch_entry() -> None:
    q, k, v = tensors(4, 2, 3, 200, 32)
    slopes = torch.stack([alibi_slopes(4), alibi_slopes(4).flip(0)])
    done = attend_split(q, k, v, slopes, 32**-0.5, norms=cache_norms(k, v))
    assert_right(done, answer(q, k, v, slopes), torch.float32)


def test_a_packed_batch_of_steps_is_answered() -> None:
    q, k, v = tensors(4, 2, 6, 300, 32, batch=1)
    queries, keys = torch.tensor([0, 1, 1, 6]), torch.tensor([0, 90, 120, 300])
    lines = (
        torch.zeros(3, dtype=torch.int64),
        queries[:-1],
        queries.diff(),
        keys[:-1],
        keys.diff(),
    )
    runs = torch.stack([*lines, keys.diff() - queries.diff()], dim=1).int()
    done = attend_split(q, k, v, SLOPES, 32**-0.5, runs=runs, norms=cache_norms(k, v))
    wanted = answer(q, k, v, SLOPES, cu_seqlens=queries, cu_seqlens_k=keys)
    assert_right(done, wanted, torch.float32)


def largest_loss(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> tuple[float, float]:
    """Return the largest share of any row's weight that was left out, and of its output's norm."""
    group, (q_len, kv_len) = q.shape[1] // k.shape[1], (q.shape[2], k.shape[2])
    plan = SplitPlan(group if q_len <= 16 else 1, Tiles(min(128, max(16, q_len)), 64, 4, 2), 3)
    scale = q.shape[3] ** -0.5
    done = attend_split(q, k, v, slopes, scale, norms=cache_norms(k, v), plan=plan)
    own = max(kv_len - q_len - (NEAR - 1), 0) // 64 * 64
    first = own - 64 * done.visited.sum(dim=3).flatten().repeat_interleave(plan.heads_together)
    seen = torch.arange(kv_len) >= first[None, :, None, None]
    weights = logs_of_weights(q, k, slopes).exp()
    values = v.double().repeat_interleave(group, dim=1)
    summed, lost = weights * seen, weights * ~seen
    sizes = (summed @ values).norm(dim=-1).clamp(min=1e-30)
    by_weight = lost.sum(dim=-1) / summed.sum(dim=-1)
    return float(by_weight.max()), float(((lost @ values).norm(dim=-1) / sizes).max())


@pytest.mark.parametrize("queries", [16, 128])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_no_attack_makes_a_row_lose_weight(
    attack: Callable[[Tensor, Tensor], None], queries: int
) -> None:
    q, k = draw_qk(900, 128)
    v = torch.randn_like(k)
    attack(q, k)
    assert max(largest_loss(q[:, :, -queries:], k, v, SLOPES)) <= tolerance(torch.float32)


@pytest.mark.parametrize("attack", ATTACKS[::2], ids=lambda attack: attack.__name__)
def test_nor_where_heads_share_keys(attack: Callable[[Tensor, Tensor], None]) -> None:
    q, k = draw_qk(900, 128, dtype=torch.bfloat16)
    v = torch.randn_like(k)
    attack(q, k)
    q, k, v = q[:, :, -5:], k[:, ::2], v[:, ::2]
    assert max(largest_loss(q, k, v, SLOPES)) <= tolerance(torch.bfloat16)


def test_nor_where_one_of_several_heads_has_a_long_query() -> None:
    q, k = torch.full((1, 2, 1, 32), 1e-3), torch.zeros(1, 1, 900, 32)
    q[:, 1, :, 0] = k[:, :, 100, 0] = 30.0  # a score of 159, where the bias is -56
    slopes = torch.tensor([0.5, 0.07])
    assert max(largest_loss(q, k, torch.ones_like(k), slopes)) <= tolerance(torch.float32)


def equal_scores(slope: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a query and 2000 keys whose scores are their bounds, equal values and a slope."""
    q, k = torch.zeros(1, 1, 1, 32), torch.zeros(1, 1, 2000, 32)
    q[..., 0] = k[..., 0] = 1
    return q, k, torch.ones_like(k), torch.tensor([slope])


@pytest.mark.parametrize("slope", [0.015, 0.02])
def test_what_is_planted_is_seen(slope: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "tolerance", lambda _: 0.1)
    of_a_block = math.exp(-64 * slope)
    assert 0.05 * of_a_block < max(largest_loss(*equal_scores(slope))) <= 0.1
    monkeypatch.setattr(launch, "tolerance", lambda _: 0.2 / of_a_block)
    assert max(largest_loss(*equal_scores(slope))) > 0.1


def test_an_output_that_shrinks_after_the_count_is_asked_for_again() -> None:
    q, k, v, slopes = equal_scores(0.02)
    sizes = (-0.02 * torch.arange(2000.0).flip(0)).exp()
    own, next_ones = slice(1920, 2000), slice(1664, 1920)
    v[:, :, next_ones] = -sizes[own].sum() / sizes[next_ones].sum()
    done = attend_split(
        *(q, k, v, slopes, 32**-0.5),
        norms=cache_norms(k, v),
        plan=SplitPlan(1, Tiles(16, 64, 4, 2), 3),
    )
    assert done.visited[..., 1] >= 3
    assert max(largest_loss(q, k, v, slopes)) <= tolerance(torch.float32)


@pytest.mark.parametrize("queries", [5, 150])
def test_it_visits_the_tiles_that_the_rule_says(queries: int) -> None:
    q, k = draw_qk(1100, 150, dtype=torch.bfloat16)
    v = torch.randn_like(k)
    group = 2 if queries == 5 else 1
    q, k, v = q[:, :, -queries:], k[:, ::group], v[:, ::group]
    plan = SplitPlan(group, SMALL._replace(rows=64 if group == 1 else 16), 4)
    norms = cache_norms(k, v)
    found = attend_split(q, k, v, SLOPES, 32**-0.5, norms=norms, plan=plan).visited[0].flip(1)
    share = tolerance(torch.bfloat16) * 2**-0.05
    wanted = model_split_counts(q, k, v, SLOPES, share)
    assert (found - wanted).abs().max() <= 1
    assert (found == wanted).float().mean() > 0.9
    everything = attend_split(q, k, v, SLOPES * 0, 32**-0.5, norms=norms, plan=plan).visited
    assert 0.1 < found.sum() / everything.sum() < 0.8


def test_without_norms_a_step_visits_all_keys_and_reads_none_twice() -> None:
    q, k, v, slopes = equal_scores(0.5)
    plan = SplitPlan(1, Tiles(16, 64, 4, 2), 3)
    done = attend_split(q, k, v, slopes, 32**-0.5, plan=plan)
    assert done.visited.flatten().tolist() == [1920 // 64, 0]


def test_equal_calls_give_equal_bits() -> None:
    q, k, v = tensors(4, 2, 4, 700, 32, torch.float16)
    calls = [
        attend_split(q, k, v, SLOPES, 32**-0.5, plan=SplitPlan(2, Tiles(16, 64, 4, 2), 5))
        for _ in range(2)
    ]
    assert torch.equal(calls[0].out, calls[1].out)
    assert torch.equal(calls[0].log_sum_exp, calls[1].log_sum_exp)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_far_key_that_is_no_number_reaches_the_step(wrong: float) -> None:
    q, k, v, slopes = equal_scores(0.05)
    k[:, :, 3, 0] = wrong
    for norms in (cache_norms(k, v), None):
        assert attend_split(q, k, v, slopes, 32**-0.5, norms=norms).out.isnan().all()


def test_splits_fill_the_chip_and_are_worth_a_program() -> None:
    assert splits_for(programs=8, chip_processors=132, keys=1 << 20) == 32
    assert splits_for(programs=100, chip_processors=132, keys=1 << 20) == 5
    assert splits_for(programs=600, chip_processors=132, keys=1 << 20) == 1
    assert splits_for(programs=8, chip_processors=132, keys=1500) == 5
    assert splits_for(programs=8, chip_processors=132, keys=100) == 1


def test_steps_are_split_and_prefills_where_programs_are_few() -> None:
    k = torch.zeros(1, 8, 4096, 64, dtype=torch.float16)
    assert plan_for(k[:, :, :1], k[:, :2]) == SplitPlan(4, Tiles(16, 64, 4, 3), 16)
    assert plan_for(k, k) == SplitPlan(1, Tiles(128, 128, 8, 2), 2)
    assert is_split(k[:, :, :16], k, None, causal=True)
    assert is_split(k, k, None, causal=True)
    assert not is_split(k, k, None, causal=False)
    assert not is_split(k.expand(3, -1, -1, -1), k, None, causal=True)
    runs = torch.zeros(5, 6)
    assert not is_split(k, k, runs, causal=True), "a packed batch, but for steps"
