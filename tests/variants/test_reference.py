"""The reference formula is ALiBi, element by element."""

import math

import pytest
import torch
from torch import Tensor

from tests.variants.formula import SHAPES, small_problem
from variants.reference import attend

SCALE = 0.3


def by_hand(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *, causal: bool) -> Tensor:
    """Apply the definition of ALiBi attention to one element after the other."""
    batch, heads, q_len, head_dim = q.shape
    kv_heads, kv_len = k.shape[1], k.shape[2]
    out = torch.zeros_like(q)
    for b in range(batch):
        for h in range(heads):
            keys, values = k[b, h * kv_heads // heads], v[b, h * kv_heads // heads]
            for row in range(q_len):
                i = row + kv_len - q_len
                seen = range(i + 1) if causal else range(kv_len)
                terms = [
                    math.exp(
                        SCALE * sum(float(q[b, h, row, d] * keys[j, d]) for d in range(head_dim))
                        - float(slopes[h]) * abs(i - j)
                    )
                    for j in seen
                ]
                for j, term in zip(seen, terms, strict=True):
                    out[b, h, row] += term / sum(terms) * values[j]
    return out


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_attend_is_the_definition_element_by_element(
    shape: tuple[int, int, int, int], causal: bool
) -> None:
    q, k, v, slopes, _ = small_problem(*shape)
    out = attend(q, k, v, slopes, scale=SCALE, causal=causal)
    torch.testing.assert_close(out, by_hand(q, k, v, slopes, causal=causal), rtol=1e-12, atol=1e-12)


def test_fewer_queries_than_keys_are_the_last_rows_of_the_whole() -> None:
    _, k, v, slopes, whole_q = small_problem(4, 4, 9, 9)
    whole = attend(whole_q, k, v, slopes, scale=SCALE, causal=True)
    last = attend(whole_q[:, :, -3:], k, v, slopes, scale=SCALE, causal=True)
    torch.testing.assert_close(last, whole[:, :, -3:], rtol=1e-12, atol=1e-12)


def test_the_first_causal_query_answers_with_the_first_value() -> None:
    q, k, v, slopes, _ = small_problem(4, 4, 7, 7)
    out = attend(q, k, v, slopes, scale=SCALE, causal=True)
    torch.testing.assert_close(out[:, :, 0], v[:, :, 0], rtol=1e-12, atol=1e-12)


def test_a_causal_bias_by_key_alone_gives_the_same_answer() -> None:
    q, k, v, slopes, _ = small_problem(4, 4, 7, 7)
    bias = slopes.double()[:, None, None] * torch.arange(7)
    future = torch.ones(7, 7, dtype=torch.bool).triu(1)
    scores = (q @ k.mT * SCALE + bias).masked_fill(future, -math.inf)
    by_key = torch.softmax(scores, dim=-1) @ v
    out = attend(q, k, v, slopes, scale=SCALE, causal=True)
    torch.testing.assert_close(out, by_key, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_scores_that_half_precision_could_not_have_are_right(dtype: torch.dtype) -> None:
    q, k, v, slopes, _ = small_problem(4, 2, 64, 64)
    q, k, v = ((600 * tensor).to(dtype) for tensor in (q, k, v))
    out = attend(q, k, v, slopes, scale=SCALE, causal=True)
    truth = attend(q.double(), k.double(), v.double(), slopes, scale=SCALE, causal=True)
    assert out.dtype == dtype
    assert (out.double() - truth).norm() / truth.norm() < torch.finfo(dtype).eps
