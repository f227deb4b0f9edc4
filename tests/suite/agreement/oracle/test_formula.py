"""The formula of the judge is that of variants.reference, and its gradients are autograd's."""

import pytest
import torch
from torch import Tensor

from suite.agreement.oracle.formula import Scoring, attend, gradients, rounded
from variants import reference
from variants.problem import alibi_slopes

SHAPES = {
    "square": (4, 4, 7, 7),
    "fewer queries than keys": (4, 4, 3, 9),
    "one query": (2, 2, 1, 8),
    "grouped heads": (6, 2, 5, 8),
    "one kv head": (3, 1, 6, 6),
}
SCALE = 0.3
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
each_mask = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])


def drawn(
    heads: int, kv_heads: int, q_len: int, kv_len: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Draw q, k, v, the slopes and dout, all rounded to `dtype`, in float64."""
    generator = torch.Generator().manual_seed(heads * 1000 + q_len)

    def normal(some_heads: int, length: int) -> Tensor:
        tensor = torch.randn(2, some_heads, length, 4, generator=generator, dtype=torch.float64)
        return rounded(tensor, dtype)

    q, k, v = normal(heads, q_len), normal(kv_heads, kv_len), normal(kv_heads, kv_len)
    return q, k, v, alibi_slopes(heads), normal(heads, q_len)


def last_rows(q: Tensor, k: Tensor) -> Tensor:
    """Return the positions of queries that stand at the end of the keys."""
    return torch.arange(k.shape[2] - q.shape[2], k.shape[2])


@each_mask
@each_shape
def test_the_formula_is_that_of_the_reference(
    shape: tuple[int, int, int, int], causal: bool
) -> None:
    q, k, v, slopes, _ = drawn(*shape)
    expected = reference.attend(q, k, v, slopes, scale=SCALE, causal=causal)
    out = attend(q, k, v, slopes, Scoring(SCALE, causal, last_rows(q, k), torch.float64))
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


@each_mask
@each_shape
def test_gradients_are_those_of_autograd_through_the_reference(
    shape: tuple[int, int, int, int], causal: bool
) -> None:
    q, k, v, slopes, dout = drawn(*shape)
    scoring = Scoring(SCALE, causal, last_rows(q, k), torch.float64)
    results = gradients(q, k, v, slopes, dout, scoring)
    for tensor in (q, k, v):
        tensor.requires_grad_()
    out = reference.attend(q, k, v, slopes, scale=SCALE, causal=causal)
    expected = (out.detach(), *torch.autograd.grad(out, (q, k, v), dout))
    for result, like in zip(results, expected, strict=True):
        torch.testing.assert_close(result, like, rtol=1e-11, atol=1e-12)


@each_mask
def test_positions_pick_rows_of_the_whole(causal: bool) -> None:
    q, k, v, slopes, dout = drawn(4, 2, 9, 9)
    rows = torch.tensor([0, 4, 5, 8])
    whole = gradients(q, k, v, slopes, dout, Scoring(SCALE, causal, torch.arange(9), q.dtype))
    some = gradients(
        q[:, :, rows], k, v, slopes, dout[:, :, rows], Scoring(SCALE, causal, rows, q.dtype)
    )
    for expected, result in zip(whole[:2], some[:2], strict=True):
        torch.testing.assert_close(result, expected[:, :, rows], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_yardstick_rounds_its_steps_and_stays_within_two_eps(dtype: torch.dtype) -> None:
    q, k, v, slopes, dout = drawn(4, 2, 64, 64, dtype)
    exact = Scoring(SCALE, causal=True, positions=torch.arange(64), rounding=torch.float64)
    truths = gradients(q, k, v, slopes, dout, exact)
    scoring = exact._replace(rounding=dtype)
    results = gradients(q.float(), k.float(), v.float(), slopes, dout.float(), scoring)
    for result, truth in zip(results, truths, strict=True):
        error = float((result.double() - truth).norm() / truth.norm())
        assert 0 < error < 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_scores_are_never_rounded_to_half_precision(dtype: torch.dtype) -> None:
    q, k, v, slopes, _ = drawn(2, 2, 32, 32, dtype)
    q, k = rounded(40 * q, dtype), rounded(40 * k, dtype)
    exact = Scoring(SCALE, causal=True, positions=torch.arange(32), rounding=torch.float64)
    truth = attend(q, k, v, slopes, exact)
    result = attend(q.float(), k.float(), v.float(), slopes, exact._replace(rounding=dtype))
    assert float((result.double() - truth).norm() / truth.norm()) < torch.finfo(dtype).eps
