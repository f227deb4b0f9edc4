"""Queries that see all keys before them: each head by the fastest way that keeps its digits."""

from collections.abc import Iterator

import pytest
import torch

from suite.case import Case, Dtype, Mode
from suite.inputs import spec_of
from variants import whole_past
from variants.masks import masks_of

CPU = torch.device("cpu")
ROWS = 500
BATCH = 2


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def named(spans: list[float], *, dtype: Dtype = "float32", mode: Mode = "forward") -> list[str]:
    """Return by name how heads are computed whose biases span as much."""
    case = Case(heads=1, kv_heads=1, head_dim=32, q_len=9, kv_len=9, dtype=dtype, mode=mode)
    return [way.__name__ for way in whole_past._ways(spans, spec_of(case, CPU))]


def test_float32_goes_in_halves_and_then_in_strips_as_biases_span_more() -> None:
    assert named([41.0, 39.0, 21.0, 20.0, 1.0]) == [
        "attend_strips",
        "_halves",
        "_halves",
        "_square",
        "_square",
    ]


def test_a_head_that_threads_cannot_share_evenly_goes_in_halves() -> None:
    assert named([50.0, 9.0, 3.0, 1.0]) == ["attend_strips", "_halves", "_square", "_square"]
    assert named([1.0]) == ["_halves"]


def test_half_precision_and_training_know_no_halves() -> None:
    assert named([99.0, 21.0, 1.0], dtype="bfloat16") == ["_square"] * 3
    assert named([33.0, 21.0, 1.0], mode="backward") == ["attend_strips", "_square", "_square"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_ways_are_causal_attention(dtype: Dtype) -> None:
    case = Case(heads=5, kv_heads=5, head_dim=32, q_len=ROWS, kv_len=ROWS, dtype=dtype, batch=BATCH)
    spec, slopes = spec_of(case, CPU), torch.tensor([0.1, 0.06, 0.03, 0.02, 0.01])
    torch.manual_seed(0)
    q, k, v = torch.randn(3, BATCH, 5, ROWS, 32).to(spec.dtype)
    out = torch.full_like(q, torch.nan)
    masks = masks_of(spec, 64, 256)(slopes, torch.full((5,), 1e9))
    whole_past.attend_whole_past(q, k, v, masks, out, spec)
    distance = torch.arange(ROWS) - torch.arange(ROWS)[:, None]
    scores = q.double() @ k.double().mT / 32**0.5 + slopes[:, None, None].double() * distance
    expected = scores.masked_fill(distance > 0, -torch.inf).softmax(dim=-1) @ v.double()
    near = 2e-6 if dtype == "float32" else 0.02
    torch.testing.assert_close(out.double(), expected, rtol=near, atol=near)
