"""Batches of any form: padded, packed, cached, windowed; answered rightly or declined by name."""

from typing import Any

import pytest
import torch

from tests.effort import the_first
from tests.variants.batches.forms import (
    BATCHES,
    COMPILED,
    SOME_FORMS,
    TAKE_ALL,
    answer_to,
    assert_right,
)
from tests.variants.batches.oracle import answer
from tests.variants.batches.problems import padding, problem
from tests.variants.formula import NAMES
from variants.attention import alibi_attention
from variants.problem import Unsupported


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


@pytest.mark.inductor
@pytest.mark.heavy
@pytest.mark.parametrize("batch", ["padded left", "packed", "windowed padding", "one kv head"])
@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_graph_gives_the_same(name: str, batch: str) -> None:
    inputs, arguments = problem(**BATCHES[batch])
    wanted = answer_to(batch)
    assert_right(alibi_attention(*inputs, **arguments, variant=name), wanted.out)


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


def test_a_call_that_says_what_is_so_anyway_is_a_dense_call() -> None:
    (q, k, v), arguments = problem(q_len=30)
    dense = alibi_attention(q, k, v, **arguments, variant="sdpa_window")
    plain: dict[str, Any] = {"q_offset": 40, "window": (-1, -1), "dropout_p": 0.0}
    assert torch.equal(alibi_attention(q, k, v, **arguments, **plain, variant="sdpa_window"), dense)
