"""Gradients are the formula's, and no row of one loses more than is certified."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.variants.native.gradient_problem import (
    GradientProblem,
    assert_right,
    draw_problem,
    truth,
)
from tests.variants.native.test_gradients_left_out import ATTACKS, one_direction
from tests.variants.triton.interpreted.model import SMALL
from variants.native.kernel_arguments import BIDIRECTIONAL, CAUSAL
from variants.problem import alibi_slopes
from variants.triton import launch
from variants.triton.launch import attend
from variants.triton.launch_gradients import LaunchedGradients, gradients
from variants.triton.tiles import Tiles, TileTable

TABLE = TileTable(SMALL, Tiles(32, 64, 4, 2), Tiles(64, 32, 4, 2), SMALL)

SHAPES: dict[str, dict[str, Any]] = {
    "one token": {"q_len": 1, "kv_len": 1},
    "a step": {"q_len": 3, "kv_len": 200},
    "blocks and a rest": {"q_len": 201, "kv_len": 201, "batch": 2},
    "a chunk": {"q_len": 130, "kv_len": 301},
    "grouped heads": {"heads": 6, "kv_heads": 2, "q_len": 100, "kv_len": 100},
    "odd dims": {"dim": 20, "value_dim": 20, "q_len": 90, "kv_len": 90},
    "bidirectional": {"causal": False, "q_len": 201, "kv_len": 201},
    "bidirectional, more keys": {"causal": False, "q_len": 70, "kv_len": 300, "kv_heads": 1},
    "bidirectional, more queries": {"causal": False, "q_len": 200, "kv_len": 90},
}


def call_gradients(
    problem: GradientProblem,
    slopes: torch.Tensor,
    tiles: TileTable = TABLE,
    *,
    causal: bool = True,
    d_lse: torch.Tensor | None = None,
) -> LaunchedGradients:
    inputs = (problem.q, problem.k, problem.v, slopes)
    done = attend(*inputs, 0.2, causal=causal, tiles=tiles.forward)
    return gradients(
        *(problem.d_out, d_lse, *inputs, done.out, done.log_sum_exp, 0.2),
        causal=causal,
        tiles=tiles,
    )


IN_BFLOAT16 = ("blocks and a rest", "grouped heads", "bidirectional, more keys")


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *((each, torch.float32) for each in SHAPES),
        *((each, torch.bfloat16) for each in IN_BFLOAT16),
    ],
)
def test_gradients_are_the_formula_s(shape: str, dtype: torch.dtype) -> None:
    sizes = {"heads": 2, "kv_heads": 2} | SHAPES[shape]
    causal = sizes.pop("causal", True)
    problem, slopes = draw_problem(**sizes, dtype=dtype), alibi_slopes(sizes["heads"])
    found = call_gradients(problem, slopes, causal=causal)
    wanted = truth(problem, CAUSAL if causal else BIDIRECTIONAL)
    least = 1.0 if problem.k.shape[2] == 1 else 0.05  # dq and dk are 0 then, but for rounding
    assert_right(found, wanted, dtype, least)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [16, 64, 128])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
def test_they_are_so_in_tiles_of_any_shape(rows: int, *, causal: bool) -> None:
    problem = draw_problem(heads=2, kv_heads=1, q_len=150, kv_len=210, dim=16, value_dim=16)
    tiles = TileTable(SMALL, Tiles(rows, 32, 4, 2), Tiles(rows, 128, 4, 2), SMALL)
    found = call_gradients(problem, alibi_slopes(2), tiles, causal=causal)
    wanted = truth(problem, CAUSAL if causal else BIDIRECTIONAL)
    assert_right(found, wanted, torch.float32)  # type: ignore[arg-type]


def test_in_float16_keys_that_are_older_than_all_queries_keep_their_digits() -> None:
    """Weights of 1e-7 times gradients of 1000 are no small numbers, but would underflow."""
    problem = draw_problem(heads=1, kv_heads=1, q_len=64, kv_len=400, dtype=torch.float16)
    problem = problem._replace(d_out=problem.d_out * 1000)
    slopes = torch.tensor([0.05])
    found, wanted = call_gradients(problem, slopes), truth(problem, slopes=slopes)
    for some, right in zip(found[1:3], wanted[1:3], strict=True):
        sizes = right.norm(dim=-1)
        off = (some.double() - right).norm(dim=-1) / sizes
        assert (sizes[:, :, :200] > 1e-3).sum() > 50
        assert float(off[sizes > 1e-3].max()) < 4e-3


SLOPES = torch.tensor([0.3])


@pytest.mark.parametrize(
    ("attack", "mirrored"),
    [*((attack, False) for attack in ATTACKS), *((attack, True) for attack in ATTACKS[1::2])],
)
def test_no_row_loses_more_than_is_certified(
    attack: Callable[[GradientProblem], GradientProblem],
    monkeypatch: pytest.MonkeyPatch,
    *,
    mirrored: bool,
) -> None:
    problem = attack(draw_problem(heads=1, kv_heads=1, q_len=196, kv_len=196, dim=16, value_dim=16))
    if mirrored:
        problem = GradientProblem(*(part.flip(2).contiguous() for part in problem))
    shares = iter((1e-30, 0.1))
    both: list[LaunchedGradients] = []
    for share in shares:
        monkeypatch.setattr(launch, "tolerance", lambda _, share=share: share)
        inputs = (problem.q, problem.k, problem.v, SLOPES)
        if not both:
            done = attend(*inputs, 0.2, causal=not mirrored, tiles=SMALL)
        outputs = (problem.d_out, None, *inputs, done.out, done.log_sum_exp, 0.2)
        both.append(
            gradients(*outputs, causal=not mirrored, tiles=TileTable(SMALL, SMALL, SMALL, SMALL))
        )
    everything, found = both
    for name in ("d_q", "d_k", "d_v"):
        if (attack, name) == (one_direction, "d_q"):
            continue  # all keys are alike, so the terms of its two sides cancel
        right = getattr(everything, name).double()
        lost = (getattr(found, name).double() - right).norm(dim=-1)
        assert (lost <= 0.0251 * right.norm(dim=-1) + 1e-37).all(), name


def test_far_pairs_of_blocks_are_left_out() -> None:
    problem = draw_problem(heads=1, kv_heads=1, q_len=520, kv_len=520, dim=16, value_dim=16)
    found = call_gradients(problem, torch.tensor([0.5]), TileTable(SMALL, SMALL, SMALL, SMALL))
    flat = call_gradients(problem, torch.tensor([0.0]), TileTable(SMALL, SMALL, SMALL, SMALL))
    for counts in ("visited_queries", "visited_keys"):
        everything = int(getattr(flat, counts).sum())
        assert everything == 8 * 9 // 2
        assert 0.2 < int(getattr(found, counts).sum()) / everything < 0.6


def test_a_key_that_is_no_number_makes_every_later_gradient_none() -> None:
    problem = draw_problem(heads=1, kv_heads=1, q_len=300, kv_len=300, dim=16, value_dim=16)
    problem.k[:, :, 3] = math.nan
    found = call_gradients(problem, torch.tensor([0.5]))
    assert found.d_q[:, :, 3:].isnan().all()
    assert found.d_k.isnan().all()
