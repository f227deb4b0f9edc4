"""The formula of the judge is that of variants.reference, and its gradients are autograd's."""

import pytest
import torch
from torch import Tensor

from suite.agreement.oracle.formula import Scoring, attend, gradients, round_to
from tests.variants.formula import SHAPES, small_problem
from variants import reference

SCALE = 0.3
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
each_mask = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])


def last_rows(q: Tensor, k: Tensor) -> Tensor:
    """Return the positions of queries that stand at the end of the keys."""
    return torch.arange(k.shape[2] - q.shape[2], k.shape[2])


@each_mask
@each_shape
def test_the_formula_is_that_of_the_reference(
    shape: tuple[int, int, int, int], causal: bool
) -> None:
    q, k, v, slopes, _ = small_problem(*shape)
    expected = reference.attend(q, k, v, slopes, scale=SCALE, causal=causal)
    out = attend(q, k, v, slopes, Scoring(SCALE, causal, last_rows(q, k), torch.float64))
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


@each_mask
@each_shape
def test_gradients_are_those_of_autograd_through_the_reference(
    shape: tuple[int, int, int, int], causal: bool
) -> None:
    q, k, v, slopes, dout = small_problem(*shape)
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
    q, k, v, slopes, dout = small_problem(4, 2, 9, 9)
    rows = torch.tensor([0, 4, 5, 8])
    whole = gradients(q, k, v, slopes, dout, Scoring(SCALE, causal, torch.arange(9), q.dtype))
    some = gradients(
        q[:, :, rows], k, v, slopes, dout[:, :, rows], Scoring(SCALE, causal, rows, q.dtype)
    )
    for expected, result in zip(whole[:2], some[:2], strict=True):
        torch.testing.assert_close(result, expected[:, :, rows], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_yardstick_rounds_its_steps_and_stays_within_two_eps(dtype: torch.dtype) -> None:
    q, k, v, slopes, dout = small_problem(4, 2, 64, 64)
    q, k, v, dout = (round_to(tensor, dtype) for tensor in (q, k, v, dout))
    exact = Scoring(SCALE, causal=True, positions=torch.arange(64), rounding=torch.float64)
    truths = gradients(q, k, v, slopes, dout, exact)
    scoring = exact._replace(rounding=dtype)
    results = gradients(q.float(), k.float(), v.float(), slopes, dout.float(), scoring)
    for result, truth in zip(results, truths, strict=True):
        error = float((result.double() - truth).norm() / truth.norm())
        assert 0 < error < 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_scores_are_never_rounded_to_half_precision(dtype: torch.dtype) -> None:
    q, k, v, slopes, _ = small_problem(2, 2, 32, 32)
    q, k, v = (round_to(tensor, dtype) for tensor in (40 * q, 40 * k, v))
    exact = Scoring(SCALE, causal=True, positions=torch.arange(32), rounding=torch.float64)
    truth = attend(q, k, v, slopes, exact)
    result = attend(q.float(), k.float(), v.float(), slopes, exact._replace(rounding=dtype))
    assert float((result.double() - truth).norm() / truth.norm()) < torch.finfo(dtype).eps
