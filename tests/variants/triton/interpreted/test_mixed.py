"""A server's packed batches: steps of decode, whose keys are split, beside chunks of prompts."""

import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from tests.variants.batches.oracle import Answer, answer
from tests.variants.formula import assert_close
from tests.variants.triton.interpreted.model import model_packed_counts
from variants.batches.cache_norms import cache_norms
from variants.problem import alibi_slopes
from variants.triton import launch_split
from variants.triton.gradient_function import CallOptions, launch
from variants.triton.launch import LaunchResult, attend
from variants.triton.launch_split import (
    FEW_QUERIES,
    SplitPlan,
    attend_mixed,
    attend_split,
    is_mixed,
    is_split,
    plan_for,
)
from variants.triton.sequences import split_by_queries
from variants.triton.tiles import Tiles
from variants.windows import tolerance

UNUSED = 5  # slots at the end of queries and of keys that are of no sequence
STEP_TILES = Tiles(16, 64, 4, 2)
SCALE = 32**-0.5


class Lengths(NamedTuple):
    """How many queries and keys each sequence has."""

    queries: tuple[int, ...]
    keys: tuple[int, ...]

    def ends(self) -> tuple[Tensor, Tensor]:
        """Return cu_seqlens of the queries and of the keys."""
        queries, keys = (torch.tensor((0, *each)).cumsum(dim=0) for each in self)
        return queries, keys

    def runs(self) -> Tensor:
        """Return the lines of variants.batches.runs.FIELDS, int32."""
        queries, keys = self.ends()
        lines = (queries[:-1] * 0, queries[:-1], queries.diff(), keys[:-1], keys.diff())
        return torch.stack([*lines, keys.diff() - queries.diff()], dim=1).int()

    def tensors(
        self, heads: int = 4, kv_heads: int = 2, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v, with NaN where no token is."""
        torch.manual_seed(sum(self.keys))
        sizes = ((heads, self.queries), (kv_heads, self.keys), (kv_heads, self.keys))
        q, k, v = (torch.randn(1, each, sum(lengths) + UNUSED, 32) for each, lengths in sizes)
        for part in (q, k, v):
            part[:, :, -UNUSED:] = math.nan
        return q.to(dtype), k.to(dtype), v.to(dtype)

    def norms(self, k: Tensor, v: Tensor) -> Tensor:
        return cache_norms(k, v, kv_lens=torch.tensor([sum(self.keys)]))

    def answer(self, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Answer:
        queries, keys = self.ends()
        return answer(q, k, v, slopes, cu_seqlens=queries, cu_seqlens_k=keys)


MIXTURES = {
    "a step beside a chunk": Lengths((1, 40), (203, 90)),
    "steps of 1, 4 and 16 queries, and 17": Lengths((1, 17, 4, 16), (70, 80, 203, 130)),
    "empty sequences": Lengths((0, 1, 0, 33, 0), (0, 64, 30, 33, 0)),
    "one key": Lengths((1, 20, 1), (1, 21, 1)),
    "steps alone": Lengths((9, 8, 1), (60, 103, 3)),
    "chunks alone": Lengths((17, 30), (18, 90)),
}


def assert_right(done: LaunchResult, wanted: Answer, dtype: torch.dtype) -> None:
    assert_close(done.out, wanted.out, dtype)
    error = 1e-5 if dtype == torch.float32 else 2e-3
    torch.testing.assert_close(
        done.log_sum_exp.double(), wanted.log_sum_exp, rtol=error, atol=error
    )


@pytest.mark.parametrize("has_norms", [True, False], ids=["norms", "no norms"])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_sequences_of_any_lengths_are_answered(mixture: str, *, has_norms: bool) -> None:
    lengths, slopes = MIXTURES[mixture], alibi_slopes(4)
    q, k, v = lengths.tensors()
    norms = lengths.norms(k, v) if has_norms else None
    plan = SplitPlan(2, STEP_TILES, splits=3)
    done = attend_mixed(q, k, v, slopes, SCALE, runs=lengths.runs(), norms=norms, plan=plan)
    assert_right(done, lengths.answer(q, k, v, slopes), torch.float32)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "rows", "dtype"),
    [
        (3, 3, 16, torch.float32),
        (6, 2, 16, torch.bfloat16),
        (6, 1, 32, torch.float16),
        (12, 1, 16, torch.float32),
    ],
)
def test_any_number_of_heads_shares_keys(
    heads: int, kv_heads: int, rows: int, dtype: torch.dtype
) -> None:
    lengths, slopes = Lengths((3, 18, 1), (140, 30, 75)), alibi_slopes(heads)
    q, k, v = lengths.tensors(heads, kv_heads, dtype)
    plan = SplitPlan(heads // kv_heads, STEP_TILES._replace(rows=rows), splits=2)
    done = attend_mixed(q, k, v, slopes, SCALE, runs=lengths.runs(), plan=plan)
    assert_right(done, lengths.answer(q, k, v, slopes), dtype)


def test_a_packed_batch_with_more_keys_than_queries_has_its_steps_split() -> None:
    lengths, slopes = MIXTURES["a step beside a chunk"], alibi_slopes(4)
    q, k, v = lengths.tensors()
    runs = lengths.runs()
    assert not is_split(q, k, runs, causal=True)
    assert is_mixed(q, k, runs, causal=True)
    done = launch(q, k, v, slopes, CallOptions(SCALE, causal=True, runs=runs))
    assert_right(done, lengths.answer(q, k, v, slopes), torch.float32)
    steps, chunks = done.visited
    assert steps.sum() > 0, "the tiles of 203 keys"
    assert chunks.sum() == 0, "left to the other launch"


def test_the_launch_of_chunks_leaves_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = MIXTURES["a step beside a chunk"]
    launched: list[Tensor] = []

    def attend_and_note(*inputs: Any, runs: Tensor, **options: Any) -> LaunchResult:
        launched.append(runs[:, 2])
        return attend(*inputs, runs=runs, **options)

    monkeypatch.setattr(launch_split, "attend", attend_and_note)
    attend_mixed(*lengths.tensors(), alibi_slopes(4), SCALE, runs=lengths.runs())
    assert [queries.tolist() for queries in launched] == [[0, 40]]


def test_blocks_of_rows_that_a_step_does_not_need_visit_nothing() -> None:
    lengths = Lengths((1, 7), (200, 200))
    q, k, v = lengths.tensors(kv_heads=1)
    done = attend_split(
        *(q[:, :, :8], k, v, alibi_slopes(4), SCALE),
        runs=lengths.runs(),
        plan=SplitPlan(4, STEP_TILES, splits=1),
    )
    assert done.visited[..., 0].flatten().tolist() == [0, 2, 2, 2]


def test_no_other_batch_is_taken_for_a_mixture() -> None:
    q, k = torch.zeros(1, 2, 30, 32), torch.zeros(1, 2, 90, 32)
    runs = Lengths((10, 20), (40, 50)).runs()
    assert is_mixed(q, k, runs, causal=True)
    assert not is_mixed(q, k, runs, causal=False)
    assert not is_mixed(q, q, runs, causal=True), "packed prompts, which have no steps"
    assert not is_mixed(q, k, runs[:1], causal=True), "a sequence for each batch entry"
    assert not is_mixed(q, k, None, causal=True)


def test_a_sequence_is_either_a_step_or_not() -> None:
    runs = Lengths((1, 17, 0, 16, 300), (1, 17, 9, 16, 300)).runs()
    steps, others = split_by_queries(runs, FEW_QUERIES)
    assert steps[:, 2].tolist() == [1, 0, 0, 16, 0]
    assert others[:, 2].tolist() == [0, 17, 0, 0, 300]
    for part in (steps, others):
        part[:, 2] = runs[:, 2]
        assert torch.equal(part, runs)


def test_blocks_of_rows_have_room_for_a_query_of_each_head() -> None:
    q, k = (torch.zeros(1, *size, 64, dtype=torch.float16) for size in ((8, 600), (2, 8192)))
    runs = Lengths((1,) * 8, (1024,) * 8).runs()
    assert plan_for(q, k, runs) == SplitPlan(4, Tiles(16, 64, 4, 3), splits=4)
    assert plan_for(q[:, :, :9], k, runs) == plan_for(q, k, runs), "whatever is beside the steps"


def test_steps_visit_the_tiles_that_the_rule_says() -> None:
    """A sequence begins anywhere in the blocks whose norms are known, which are very different."""
    dtype, slopes = torch.bfloat16, alibi_slopes(4) * 2
    lengths = Lengths((1, 40, 4, 16, 0, 1), (300, 45, 500, 450, 20, 600))
    q, k, v = (part.nan_to_num(0.0) for part in lengths.tensors(dtype=dtype))
    sizes = 4 * torch.rand(k.shape[2] // 64 + 1, 1).repeat_interleave(64, dim=0)[: k.shape[2]]
    k = (k * sizes).to(dtype)
    plan = SplitPlan(2, STEP_TILES, splits=3)
    done = attend_mixed(q, k, v, slopes, SCALE, runs=lengths.runs(), plan=plan)
    found = done.visited.flip(2)
    share = tolerance(dtype) * 2**-0.05
    steps, _ = split_by_queries(lengths.runs(), FEW_QUERIES)
    wanted = model_packed_counts(q, k, v, slopes, steps, share, plan.tiles)
    assert (found - wanted).abs().max() <= 1
    assert (found == wanted).float().mean() > 0.9
    everything = attend_mixed(q, k, v, slopes * 0, SCALE, runs=lengths.runs(), plan=plan)
    assert 0.1 < found.sum() / everything.visited.sum() < 0.8
