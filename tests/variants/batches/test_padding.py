"""What lies in padding reaches no output and no gradient."""

import math

import pytest
import torch

from tests.variants.batches.forms import (
    BATCHES,
    GARBAGE,
    answer_to,
    assert_right,
    d_out_of,
    gradients_of,
    padding_of,
    poison_padding,
)
from tests.variants.batches.oracle import answer
from tests.variants.batches.problems import problem
from variants.attention import alibi_attention, variant_for
from variants.problem import Unsupported


@pytest.mark.matrix
@pytest.mark.uncompiled
@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize(
    "batch", [name for name in BATCHES if any(word in name for word in ("pad", "cache", "mixed"))]
)
@pytest.mark.parametrize("name", ["eager", "sdpa_mask", "native_window", "auto"])
def test_garbage_in_padding_reaches_nothing(name: str, batch: str, value: float) -> None:
    assert_garbage_reaches_nothing(name, batch, value)


@pytest.mark.uncompiled
@pytest.mark.parametrize("batch", ["padded left", "padded both, bidirectional", "empty cache"])
def test_garbage_in_padding_reaches_nothing_in_flex(batch: str) -> None:
    assert_garbage_reaches_nothing("flex", batch, math.nan)


def assert_garbage_reaches_nothing(name: str, batch: str, value: float) -> None:
    (q, k, v), arguments = problem(**BATCHES[batch])
    wanted = answer_to(batch).out
    is_padding = padding_of(k.shape[2], arguments)
    k, v = (poison_padding(tokens, is_padding, value) for tokens in (k, v))
    if "key_padding" in arguments and "q_offset" not in arguments:
        q = poison_padding(q, is_padding[:, k.shape[2] - q.shape[2] :], value)
    assert_right(alibi_attention(q, k, v, **arguments, variant=name), wanted)


@pytest.mark.matrix
@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize(
    "batch", ["padded left", "padded both, bidirectional", "empty cache", "mixed"]
)
@pytest.mark.parametrize("name", ["eager", "sdpa_mask", "auto"])
def test_garbage_in_padding_reaches_no_gradient(name: str, batch: str, value: float) -> None:
    (q, k, v), arguments = problem(**BATCHES[batch])
    is_padding = padding_of(k.shape[2], arguments)
    k, v = (poison_padding(tokens, is_padding, value) for tokens in (k, v))
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    out = alibi_attention(*leaves, **arguments, variant=name)
    found = torch.autograd.grad((out * d_out_of(out)).sum(), leaves)
    for gradient, exact in zip(found, gradients_of(batch), strict=True):
        assert_right(gradient, exact)


def test_padding_between_tokens_is_taken_by_all_that_take_padding_but_the_kernel() -> None:
    key_padding = torch.zeros(2, 70, dtype=torch.bool)
    key_padding[0, 20:30] = True
    inputs, arguments = problem(key_padding=key_padding)
    wanted = answer(*inputs, **arguments).out
    for name in ("eager", "sdpa_mask", "flex", "auto"):
        assert_right(alibi_attention(*inputs, **arguments, variant=name), wanted)
    with pytest.raises(Unsupported, match="some between its tokens; eager, sdpa_mask and flex"):
        alibi_attention(*inputs, **arguments, variant="native_window")
    assert variant_for(*inputs, **arguments) == "sdpa_mask"
