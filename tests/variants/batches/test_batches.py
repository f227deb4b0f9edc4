"""Batches of any form: padded, packed, cached, windowed; answered rightly or declined by name."""

import math
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.effort import examples, the_first
from tests.variants.batches.oracle import Answer, answer
from tests.variants.batches.problems import numbers, padding, problem
from tests.variants.formula import NAMES, TOLERANCE, UNCOMPILED
from variants.attention import alibi_attention, variant_for
from variants.problem import Unsupported

TAKE_ALL = ("eager", "sdpa_mask", "flex", "native_window", "auto")
GARBAGE = (math.nan, math.inf, 3e38, -3e38)


COMPILED = ("flex", "compile")
SOME_FORMS = (
    *(
        "padded both, bidirectional",
        "packed",
        "mixed",
        "window, both sides",
        "slopes by batch entry",
    ),
    *(
        "padded left",
        "pages, a step",
        "static cache, a step",
        "one kv head",
        "an earlier chunk of keys",
    ),
)
"""Forms that show all that COMPILED do in another way; each makes a graph, which takes a second."""


BATCHES: dict[str, dict[str, Any]] = {
    "padded left": {"key_padding": padding(70, (40, 70), (0, 70))},
    "padded right": {"key_padding": padding(70, (0, 31), (0, 70))},
    "padded left, a step": {"key_padding": padding(70, (40, 70), (3, 70)), "q_len": 1},
    "padded both, bidirectional": {"key_padding": padding(70, (9, 60), (0, 5)), "causal": False},
    "padding alone": {"key_padding": padding(70, (0, 0), (1, 70))},
    "cross-attention": {
        "key_padding": padding(70, (9, 60), (0, 5)),
        "causal": False,
        "q_offset": 3,
        "q_len": 90,
    },
    "packed": {"cu_seqlens": torch.tensor([0, 5, 5, 64, 66]), "batch": 1},
    "packed, bidirectional": {
        "cu_seqlens": torch.tensor([0, 33, 70], dtype=torch.int32),
        "batch": 1,
        "causal": False,
    },
    "mixed": {
        "cu_seqlens": torch.tensor([0, 1, 1, 24, 25]),
        "cu_seqlens_k": torch.tensor([0, 9, 12, 50, 66]),
        "batch": 1,
        "q_len": 28,
    },
    "mixed, bidirectional": {
        "cu_seqlens": torch.tensor([0, 20, 25, 45], dtype=torch.int32),
        "cu_seqlens_k": torch.tensor([0, 20, 30, 70], dtype=torch.int32),
        "batch": 1,
        "q_len": 45,
        "kv_heads": 2,
        "causal": False,
    },
    "mixed, with a window": {
        "cu_seqlens": torch.tensor([0, 30, 31]),
        "cu_seqlens_k": torch.tensor([0, 30, 70]),
        "batch": 1,
        "q_len": 31,
        "window": (12, 0),
    },
    "static cache, a step": {"kv_lens": torch.tensor([17, 70], dtype=torch.int32), "q_len": 1},
    "static cache, a chunk": {"kv_lens": torch.tensor([17, 3]), "q_len": 9},
    "pages, a step": {"page_size": 16, "kv_lens": (17, 70), "q_len": 1, "kv_heads": 2},
    "pages, some tokens": {"page_size": 32, "kv_lens": (9, 70), "q_len": 9, "window": (20, 0)},
    "pages, a chunk": {"page_size": 16, "kv_lens": (40, 70), "q_len": 40, "value_dim": 24},
    "pages of an odd size": {"page_size": 12, "kv_lens": (0, 70), "q_len": 2},
    "empty cache": {"kv_lens": torch.tensor([0, 70]), "q_len": 2},
    "window": {"window": (12, 0)},
    "window of a query alone": {"window": (0, 0)},
    "window, both sides": {"window": (12, 5), "causal": False},
    "window, after alone": {"window": (-1, 5), "causal": False},
    "windowed padding": {"window": (12, 3), "key_padding": padding(70, (9, 60), (0, 5))},
    "an earlier chunk of keys": {"q_offset": 100, "q_len": 40},
    "a later chunk of keys": {"q_offset": -30, "q_len": 40},
    "slopes by batch entry": {"slopes": torch.tensor([[0.5, 0.1, 0.01, 0.2], [0.3, 0.0, 1, 0.02]])},
    "values of more dimensions": {"value_dim": 24},
    "values of fewer dimensions": {"value_dim": 8},
    "one kv head": {"kv_heads": 1, "key_padding": padding(70, (40, 70), (0, 70))},
}
"""Arguments of calls, and shapes where they are not those of `problem`, by what is special."""


@cache
def answer_to(batch: str) -> Answer:
    """Return the answer to a call of BATCHES in float32; the oracle takes a tenth of a second."""
    inputs, arguments = problem(**BATCHES[batch])
    return answer(*inputs, **arguments)


def d_out_of(out: Tensor) -> Tensor:
    """Draw a gradient of an output."""
    return numbers(4, *out.shape)


@cache
def gradients_of(batch: str) -> tuple[Tensor, ...]:
    """Return the gradients of q, k and v of a call of BATCHES."""
    inputs, arguments = problem(**BATCHES[batch])
    wide = [tensor.double().requires_grad_() for tensor in inputs]
    out = answer(*wide, **arguments).out
    return torch.autograd.grad((out * d_out_of(out)).sum(), wide)


def assert_right(out: Tensor, wanted: Tensor, dtype: torch.dtype = torch.float32) -> None:
    error = TOLERANCE[dtype]
    torch.testing.assert_close(out.double(), wanted, rtol=error, atol=error)


def poisoned(tokens: Tensor, is_padding: Tensor, value: float) -> Tensor:
    """Return [batch, heads, length, dim] with a value in all of the padding [batch, length]."""
    return tokens.masked_fill(is_padding[:, None, :, None], value)


def padding_of(kv_len: int, arguments: dict[str, Any]) -> Tensor:
    """Return which keys are padding: bool [batch or 1, kv_len]."""
    slots = torch.arange(kv_len)[None]
    if "key_padding" in arguments:
        is_padding: Tensor = arguments["key_padding"]
        return is_padding
    if "kv_lens" in arguments:
        return slots >= cast(Tensor, arguments["kv_lens"])[:, None]
    ends = arguments.get("cu_seqlens_k", arguments.get("cu_seqlens"))
    return slots >= (kv_len if ends is None else ends[-1])


@pytest.mark.uncompiled
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in COMPILED])
def test_each_form_of_batch_is_answered_rightly_or_declined_by_name(name: str, batch: str) -> None:
    inputs, arguments = problem(**BATCHES[batch])
    wanted = answer_to(batch)
    try:
        out = alibi_attention(*inputs, **arguments, variant=name)
    except Unsupported:
        assert name not in TAKE_ALL
        return
    assert (out.shape, out.dtype) == (wanted.out.shape, torch.float32)
    assert_right(out, wanted.out)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*TAKE_ALL, "compile")])
def test_a_variant_for_dense_batches_alone_names_those_that_take_all(name: str) -> None:
    inputs, arguments = problem(window=(9, 0), kv_lens=torch.tensor([9, 70]))
    refusal = f"{name} takes no kv_lens, window; eager, sdpa_mask, flex and native_window take all"
    with pytest.raises(Unsupported, match=refusal):
        alibi_attention(*inputs, **arguments, variant=name)


@pytest.mark.uncompiled
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", ["eager", "sdpa_mask", "native_window", "auto"])
def test_the_log_sum_exp_comes_with_the_output(name: str, batch: str) -> None:
    assert_right_with_log_sum_exp(name, batch)


@pytest.mark.uncompiled
@pytest.mark.parametrize("batch", the_first(4, SOME_FORMS))
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_variants_take_these_forms_too(name: str, batch: str) -> None:
    inputs, arguments = problem(**BATCHES[batch])
    out = alibi_attention(*inputs, **arguments, variant=name)
    assert_right(out, answer_to(batch).out)


def test_flex_declines_the_log_sum_exp_on_a_cpu_and_says_who_gives_it() -> None:
    inputs, arguments = problem()
    with pytest.raises(Unsupported, match="eager, sdpa_mask and native_window do"):
        alibi_attention(*inputs, **arguments, variant="flex", return_lse=True)


def assert_right_with_log_sum_exp(name: str, batch: str) -> None:
    inputs, arguments = problem(**BATCHES[batch])
    wanted = answer_to(batch)
    out, log_sum_exp = alibi_attention(*inputs, **arguments, variant=name, return_lse=True)
    assert log_sum_exp.dtype == torch.float32
    assert_right(out, wanted.out)
    assert_right(log_sum_exp, wanted.log_sum_exp)


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    "batch", ["padded left", "packed", "mixed", "static cache, a chunk", "window"]
)
@pytest.mark.parametrize("name", ["eager", "sdpa_mask", "native_window"])
def test_half_precision_is_right_too(name: str, batch: str, dtype: torch.dtype) -> None:
    inputs, arguments = problem(dtype=dtype, **BATCHES[batch])
    wanted = answer(*inputs, **arguments)
    out, log_sum_exp = alibi_attention(*inputs, **arguments, variant=name, return_lse=True)
    assert out.dtype == dtype
    assert_right(out, wanted.out, dtype)
    assert_right(log_sum_exp, wanted.log_sum_exp, dtype)


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
    k, v = (poisoned(tokens, is_padding, value) for tokens in (k, v))
    if "key_padding" in arguments and "q_offset" not in arguments:
        q = poisoned(q, is_padding[:, k.shape[2] - q.shape[2] :], value)
    assert_right(alibi_attention(q, k, v, **arguments, variant=name), wanted)


@pytest.mark.inductor
@pytest.mark.heavy
@pytest.mark.parametrize("batch", ["padded left", "packed", "windowed padding", "one kv head"])
@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_graph_gives_the_same(name: str, batch: str) -> None:
    inputs, arguments = problem(**BATCHES[batch])
    wanted = answer_to(batch)
    assert_right(alibi_attention(*inputs, **arguments, variant=name), wanted.out)


@pytest.mark.matrix
@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize(
    "batch", ["padded left", "padded both, bidirectional", "empty cache", "mixed"]
)
@pytest.mark.parametrize("name", ["eager", "sdpa_mask", "auto"])
def test_garbage_in_padding_reaches_no_gradient(name: str, batch: str, value: float) -> None:
    (q, k, v), arguments = problem(**BATCHES[batch])
    is_padding = padding_of(k.shape[2], arguments)
    k, v = (poisoned(tokens, is_padding, value) for tokens in (k, v))
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    out = alibi_attention(*leaves, **arguments, variant=name)
    found = torch.autograd.grad((out * d_out_of(out)).sum(), leaves)
    for gradient, exact in zip(found, gradients_of(batch), strict=True):
        assert_right(gradient, exact)


def test_the_log_sum_exp_has_a_gradient_or_is_declined() -> None:
    (q, k, v), arguments = problem()
    wide = [tensor.double().requires_grad_() for tensor in (q, k, v)]
    answer(*wide, **arguments).log_sum_exp.sum().backward()
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    with pytest.raises(Unsupported, match=r"log-sum-exp has no gradient; eager's has"):
        alibi_attention(*leaves, **arguments, variant="sdpa_mask", return_lse=True)
    for name in ("eager", "auto"):
        _, log_sum_exp = alibi_attention(*leaves, **arguments, variant=name, return_lse=True)
        (gradient,) = torch.autograd.grad(log_sum_exp.sum(), leaves[0])
        assert wide[0].grad is not None
        assert_right(gradient, wide[0].grad)


def test_two_chunks_of_keys_merge_by_their_log_sum_exp_into_the_whole() -> None:
    (q, k, v), arguments = problem()
    whole = alibi_attention(q, k, v, **arguments)
    parts = [
        alibi_attention(
            q, k[:, :, first:end], v[:, :, first:end], **arguments, q_offset=-first, return_lse=True
        )
        for first, end in ((0, 32), (32, 70))
    ]
    weights = torch.softmax(torch.stack([log_sum_exp for _, log_sum_exp in parts]), dim=0)
    merged = sum(weight[..., None] * out for weight, (out, _) in zip(weights, parts, strict=True))
    torch.testing.assert_close(merged, whole, rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize("name", ["eager", "sdpa_mask", "auto"])
def test_dropout_drops_a_share_of_the_weights_and_keeps_their_mean(name: str) -> None:
    (q, k, _), arguments = problem(key_padding=padding(70, (40, 70), (0, 70)))
    torch.manual_seed(5)
    ones = torch.ones_like(k)
    out = alibi_attention(q, k, ones, **arguments, dropout_p=0.3, variant=name)
    assert not torch.equal(out, alibi_attention(q, k, ones, **arguments, variant=name))
    assert out[1].mean().item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", ["flex", "native_window"])
def test_a_variant_without_dropout_names_those_that_have_it(name: str) -> None:
    inputs, arguments = problem()
    with pytest.raises(Unsupported, match="has no dropout; eager and sdpa_mask have"):
        alibi_attention(*inputs, **arguments, dropout_p=0.1, variant=name)


def test_slopes_of_a_batch_learn() -> None:
    inputs, arguments = problem(**BATCHES["slopes by batch entry"])
    wide = arguments["slopes"].double().requires_grad_()
    answer(*inputs, slopes=wide).out.square().sum().backward()
    for name in ("eager", "sdpa_mask", "auto"):
        slopes = arguments["slopes"].clone().requires_grad_()
        alibi_attention(*inputs, slopes=slopes, variant=name).square().sum().backward()
        assert_right(slopes.grad, wide.grad)


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the arguments and the shapes of a call."""
    kv_len, batch = draw(st.integers(1, 150)), draw(st.integers(1, 3))
    drawn: dict[str, Any] = {"kv_len": kv_len, "batch": batch, "causal": draw(st.booleans())}
    form = draw(st.sampled_from(["key_padding", "cu_seqlens", "kv_lens", "whole"]))
    places = st.integers(0, kv_len)
    if form == "key_padding":
        real = draw(st.lists(st.tuples(places, places), min_size=batch, max_size=batch))
        drawn["key_padding"] = padding(kv_len, *map(sorted, real))  # type: ignore[arg-type]
    elif form == "kv_lens":
        lengths = draw(st.lists(places, min_size=batch, max_size=batch))
        drawn["kv_lens"] = torch.tensor(lengths)
    elif form == "cu_seqlens":
        ends = [0, *sorted(draw(st.lists(places, max_size=6)))]
        drawn |= {"cu_seqlens": torch.tensor(ends), "batch": 1, "q_len": kv_len}
        if draw(st.booleans()):
            queries = [draw(st.integers(0, end - first)) for first, end in pairwise(ends)]
            drawn["cu_seqlens_k"] = drawn["cu_seqlens"]
            drawn["cu_seqlens"] = torch.tensor([0, *accumulate(queries)])
            drawn["q_len"] = draw(st.integers(max(1, sum(queries)), kv_len))
        return drawn
    if draw(st.booleans()):
        drawn["q_offset"] = draw(st.integers(-40, kv_len + 40))
    q_lens = st.integers(1, 90 if "q_offset" in drawn else kv_len)
    drawn["q_len"] = draw(q_lens)
    if draw(st.booleans()):
        drawn["window"] = draw(st.tuples(st.integers(-1, 80), st.integers(-1, 80)))
    return drawn | {"value_dim": draw(st.sampled_from([8, 16, 40]))}


@given(batch=batches(), name=st.sampled_from(UNCOMPILED))
@settings(max_examples=examples(200), deadline=None)
def test_random_batches_are_answered_rightly_or_declined(batch: dict[str, Any], name: str) -> None:
    inputs, arguments = problem(**batch)
    wanted = answer(*inputs, **arguments)
    try:
        out, log_sum_exp = alibi_attention(*inputs, **arguments, variant=name, return_lse=True)
    except Unsupported:
        assert name not in TAKE_ALL
        return
    assert_right(out, wanted.out)
    assert_right(log_sum_exp, wanted.log_sum_exp)


def test_a_call_that_says_what_is_so_anyway_is_a_dense_call() -> None:
    (q, k, v), arguments = problem(q_len=30)
    dense = alibi_attention(q, k, v, **arguments, variant="sdpa_window")
    plain: dict[str, Any] = {"q_offset": 40, "window": (-1, -1), "dropout_p": 0.0}
    assert torch.equal(alibi_attention(q, k, v, **arguments, **plain, variant="sdpa_window"), dense)
