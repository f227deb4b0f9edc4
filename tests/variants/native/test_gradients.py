"""The kernel's gradients are the formula's, for any shape, slopes, sequences and processor."""

import math
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.effort import examples
from tests.variants.native.gradient_problem import (
    LEAST,
    NAMES,
    TOLERATED,
    GradientProblem,
    assert_right,
    call_gradients,
    draw_problem,
    truth,
    worst_error,
)
from variants.compiled.flags import FLAGS
from variants.native import kernel_call, kernel_gradients, kernel_library
from variants.native.kernel_arguments import BIDIRECTIONAL, CAUSAL, EVERY_KEY, Reach
from variants.problem import alibi_slopes

SHAPES: dict[str, tuple[Reach, dict[str, Any]]] = {
    "one block": (CAUSAL, {"q_len": 64, "kv_len": 64}),
    "one token": (CAUSAL, {"q_len": 1, "kv_len": 1}),
    "a step": (CAUSAL, {"q_len": 3, "kv_len": 200}),
    "blocks and a rest": (CAUSAL, {"q_len": 333, "kv_len": 333, "batch": 2}),
    "a chunk": (CAUSAL, {"q_len": 130, "kv_len": 401}),
    "grouped heads": (CAUSAL, {"heads": 6, "kv_heads": 2}),
    "odd dims": (CAUSAL, {"dim": 20, "value_dim": 17}),
    "a wider value": (CAUSAL, {"dim": 16, "value_dim": 48}),
    "the widest head": (CAUSAL, {"heads": 1, "kv_heads": 1, "dim": 256, "value_dim": 256}),
    "bidirectional": (BIDIRECTIONAL, {}),
    "bidirectional, more keys": (BIDIRECTIONAL, {"q_len": 70, "kv_len": 500, "kv_heads": 1}),
    "bidirectional, more queries": (BIDIRECTIONAL, {"q_len": 200, "kv_len": 90}),
    "a window": (Reach(100, 0), {}),
    "a narrow window": (Reach(3, 0), {}),
    "a window that ends at a block's second key": (Reach(126, 0), {"kv_len": 320, "q_len": 320}),
    "a window on both sides": (Reach(70, 130), {}),
    "a window of what comes": (Reach(0, 80), {}),
}
"""What a query reaches and the sizes of a call, by what is special about them."""


@pytest.mark.parametrize("dtype", TOLERATED, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_the_formula_s(shape: str, dtype: torch.dtype) -> None:
    reach, sizes = SHAPES[shape]
    problem = draw_problem(**sizes, dtype=dtype)
    least = 1.0 if problem.k.shape[2] == 1 else LEAST  # dq and dk are 0 then, but for rounding
    assert_right(call_gradients(problem, reach), truth(problem, reach), dtype, least)


@settings(max_examples=examples(15), deadline=None)
@given(
    kv_len=st.integers(1, 400),
    q_share=st.floats(0, 1),
    dim=st.integers(1, 70),
    value_dim=st.integers(1, 70),
    group=st.sampled_from([1, 3]),
    before=st.sampled_from([0, 40, 64, 150, EVERY_KEY]),
    after=st.sampled_from([0, 1, 64, 100, EVERY_KEY]),
    size=st.sampled_from([0.3, 1.0, 4.0]),
)
def test_any_sizes_are_answered(
    kv_len: int,
    q_share: float,
    dim: int,
    value_dim: int,
    group: int,
    before: int,
    after: int,
    size: float,
) -> None:
    problem = draw_problem(
        heads=2 * group,
        kv_heads=2,
        q_len=max(1, round(q_share * kv_len)),
        kv_len=kv_len,
        dim=dim,
        value_dim=value_dim,
    )
    problem = problem._replace(q=problem.q * size)
    reach = Reach(before, after)
    wanted = truth(problem, reach)
    for some, right in zip(call_gradients(problem, reach)[:3], wanted, strict=False):
        assert torch.linalg.vector_norm(some - right) <= 1e-4 * (
            torch.linalg.vector_norm(right) + size * kv_len**0.5
        )


def test_gradients_have_the_same_bits_whoever_computes_them() -> None:
    problem = draw_problem(heads=8, kv_heads=1, q_len=500, kv_len=500, batch=2)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5, 5):
            torch.set_num_threads(threads)
            results.append(call_gradients(problem)[:4])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(some, first) for some, first in zip(other, results[0], strict=True))


@pytest.mark.parametrize("slope", [0.0, -0.02, 1e-40, 30.0, 1e6])
def test_slopes_may_be_anything(slope: float) -> None:
    problem, slopes = draw_problem(q_len=200, kv_len=200), torch.full((4,), slope)
    found, wanted = call_gradients(problem, slopes=slopes), truth(problem, slopes=slopes)
    for name, some, right in zip(NAMES[:3], found, wanted, strict=False):
        assert worst_error(cast(Tensor, some).double(), right, least=1.0) < 2e-5, name


def test_slopes_of_each_batch_entry_have_gradients_of_their_own() -> None:
    problem = draw_problem(batch=2)
    slopes = torch.stack([alibi_slopes(4), alibi_slopes(4).flip(0)])
    found = call_gradients(problem, slopes=slopes)
    assert found.d_slopes.shape == (2, 4)
    assert_right(found, truth(problem, slopes=slopes), torch.float32)


def test_a_negative_scale_is_bounded_too() -> None:
    problem = draw_problem(q_len=600, kv_len=600)
    assert_right(call_gradients(problem, scale=-0.5), truth(problem, scale=-0.5), torch.float32)


def test_scores_that_have_no_digits_left_give_finite_gradients() -> None:
    problem = draw_problem(q_len=500, kv_len=500)
    problem.k[:, :, 250] *= 1e9
    for part in call_gradients(problem)[:4]:
        assert part.isfinite().all()


def test_the_log_sum_exp_has_a_gradient() -> None:
    problem = draw_problem()
    d_lse = torch.randn(problem.q.shape[:3])
    assert_right(call_gradients(problem, d_lse=d_lse), truth(problem, d_lse=d_lse), torch.float32)


def test_sequences_have_gradients_of_their_own_and_other_rows_have_none() -> None:
    problem = draw_problem(q_len=400, kv_len=400, heads=4, kv_heads=2)
    lines = [[0, 10, 90, 10, 90, 0], [0, 150, 70, 110, 110, 40], [0, 300, 0, 300, 50, 0]]
    for part in problem:
        part[:, :, :10] = part[:, :, 100:110] = part[:, :, 220:] = math.nan
    found = call_gradients(problem, sequences=torch.tensor(lines))
    wanted = [torch.zeros_like(part, dtype=torch.float64) for part in found[:3]]
    for _, first, queries, key, keys, _ in lines[:2]:
        rows, own = slice(first, first + queries), slice(key, key + keys)
        own_rows = GradientProblem(*(problem[i][:, :, (rows, own, own, rows)[i]] for i in range(4)))
        for total, some, place in zip(wanted, truth(own_rows), (rows, own, own), strict=False):
            total[:, :, place] += some
    for some, right in zip(found[:3], wanted, strict=True):
        torch.testing.assert_close(some.double(), right, rtol=1e-4, atol=1e-4)


def test_queries_before_the_first_key_have_no_gradient_and_give_none() -> None:
    problem = draw_problem(q_len=100, kv_len=70)
    found = call_gradients(problem, sequences=torch.tensor([[0, 0, 100, 0, 70, -30]]))
    assert not found.d_q[:, :, :30].any()
    seeing = GradientProblem(problem.q[:, :, 30:], problem.k, problem.v, problem.d_out[:, :, 30:])
    found = found._replace(d_q=found.d_q[:, :, 30:])
    assert_right(found, truth(seeing), torch.float32)


def test_a_key_that_is_no_number_makes_every_later_gradient_none() -> None:
    problem = draw_problem(q_len=700, kv_len=700)
    problem.k[:, :, 3] = math.nan
    found = call_gradients(problem)
    assert found.d_q[:, :, 3:].isnan().all()
    assert found.d_k.isnan().all()


NARROW = ["x86-64", "x86-64-v2", "x86-64-v3"]


@pytest.fixture(params=NARROW)
def _narrower(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the kernel built for a processor with narrower vectors."""
    narrower = kernel_library.load([*FLAGS, f"-march={request.param}"])
    for module in (kernel_call, kernel_gradients):
        monkeypatch.setattr(module, "library", lambda: narrower)


@pytest.mark.usefixtures("_narrower")
def test_gradients_agree_on_narrower_vectors() -> None:
    problem = draw_problem(q_len=150, kv_len=333, dim=40, value_dim=20, kv_heads=2)
    for reach in (CAUSAL, BIDIRECTIONAL, Reach(70, 30)):
        assert_right(call_gradients(problem, reach), truth(problem, reach), torch.float32)
