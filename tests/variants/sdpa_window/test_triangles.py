"""Queries that see all keys before them: each head by the fastest way that keeps its digits."""

from collections.abc import Iterator

import pytest
import torch

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case, Dtype, Mode
from variants.sdpa_window import sdpa_window, triangles
from variants.sdpa_window.bias_masks import masks_of

CPU = torch.device("cpu")
ROWS = 500
BATCH = 2


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def ways_of(
    spans: list[float],
    *,
    rows: int = 1024,
    batch: int = 1,
    dtype: Dtype = "float32",
    mode: Mode = "forward",
) -> str:
    """Return how heads are computed whose biases span as much: s for strips, h halves, a square."""
    case = Case(
        heads=1, kv_heads=1, head_dim=32, q_len=9, kv_len=9, dtype=dtype, mode=mode, batch=batch
    )
    ways = triangles._ways(spans, rows, spec_of(case, CPU))
    letters = {"attend_strips": "s", "_halves": "h", "_square": "a"}
    return "".join(letters[way.__name__] for way in ways)


def test_float32_goes_in_halves_and_then_in_strips_as_biases_span_more() -> None:
    assert ways_of([41.0, 39.0, 21.0, 20.0, 1.0]) == "shhaa"


def test_of_squares_side_by_side_what_threads_cannot_share_goes_in_halves() -> None:
    assert ways_of([50.0, 9.0, 3.0, 1.0]) == "shaa"
    assert ways_of([1.0, 50.0, 1.0]) == "hsh"
    assert ways_of([1.0]) == "h"
    torch.set_num_threads(3)
    assert ways_of([9.0, 8.0, 7.0, 6.0, 5.0]) == "hhaaa"


def test_nothing_is_shared_where_rows_are_few_or_a_batch_shares_better() -> None:
    assert ways_of([9.0, 3.0, 1.0], rows=1023) == "aaa"
    assert ways_of([9.0, 3.0, 1.0], batch=2) == "aaa"


def test_half_precision_and_training_know_no_halves() -> None:
    assert ways_of([99.0, 21.0, 1.0], dtype="bfloat16") == "aaa"
    assert ways_of([33.0, 21.0, 1.0], mode="backward") == "saa"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_way_is_causal_attention(dtype: Dtype) -> None:
    case = Case(heads=5, kv_heads=5, head_dim=32, q_len=ROWS, kv_len=ROWS, dtype=dtype, batch=BATCH)
    spec, slopes = spec_of(case, CPU), torch.tensor([0.1, 0.06, 0.03, 0.02, 0.01])
    torch.manual_seed(0)
    q, k, v = torch.randn(3, BATCH, 5, ROWS, 32).to(spec.dtype)
    assert ways_of((slopes * (ROWS - 1)).tolist(), rows=ROWS) == "shaaa"
    out = torch.full_like(q, torch.nan)
    masks = masks_of(spec, 64, 256)(slopes, torch.full((5,), 1e9))
    triangles.attend_whole_past(q, k, v, masks, out, spec)
    distance = torch.arange(ROWS) - torch.arange(ROWS)[:, None]
    scores = q.double() @ k.double().mT / 32**0.5 + slopes[:, None, None].double() * distance
    expected = scores.masked_fill(distance > 0, -torch.inf).softmax(dim=-1) @ v.double()
    near = 2e-6 if dtype == "float32" else 0.02
    torch.testing.assert_close(out.double(), expected, rtol=near, atol=near)


def test_a_square_of_one_row_is_one() -> None:
    case = Case(heads=1, kv_heads=1, head_dim=32, q_len=385, kv_len=385, dtype="float32")
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    steep = torch.full_like(inputs.slopes, 64.0)  # it sees no block but its own
    found = sdpa_window.prepare(spec)(inputs.q, inputs.k, inputs.v, steep)
    assert torch.equal(found[:, :, 0], inputs.v[:, :, 0])


@pytest.mark.heavy
def test_a_head_of_many_whose_bias_spans_23_keeps_its_digits() -> None:
    case = Case(heads=32, kv_heads=32, head_dim=64, q_len=2048, kv_len=2048, dtype="float32")
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    found = check(sdpa_window.prepare(spec), spec, inputs, answers="alibi", seed=0)
    assert found.error < 0.9 * found.budget, found
