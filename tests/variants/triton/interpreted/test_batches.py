"""Padded, packed and cached batches, through alibi_attention: outputs, log-sum-exp, gradients."""

import math
from typing import Any

import pytest
import torch

from suite.cases.case import Case
from suite.clocks.timer import Bench
from suite.lanes.prepared_case import PreparedCase, Subject
from tests.variants.batches import forms as of_all
from tests.variants.batches.oracle import answer
from tests.variants.batches.problems import problem
from variants.attention import alibi_attention
from variants.problem import Unsupported

DECLINED = {
    name for name, batch in of_all.BATCHES.items() if "window" in batch or "value_dim" in batch
}
NAME = "triton_window"


@pytest.mark.parametrize("batch", sorted(of_all.BATCHES.keys() - DECLINED))
def test_each_form_of_batch_is_answered_with_its_log_sum_exp_and_gradients(batch: str) -> None:
    (q, k, v), arguments = problem(**of_all.BATCHES[batch])
    wanted = of_all.answer_to(batch)
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    out, log_sum_exp = alibi_attention(*leaves, **arguments, variant=NAME, return_lse=True)
    of_all.assert_right(out.detach(), wanted.out)
    of_all.assert_right(log_sum_exp.detach(), wanted.log_sum_exp)
    found = torch.autograd.grad((out * of_all.d_out_of(out)).sum(), leaves)
    for gradient, exact in zip(found, of_all.gradients_of(batch), strict=True):
        of_all.assert_right(gradient, exact)


@pytest.mark.parametrize("batch", sorted(DECLINED))
def test_what_it_declines_it_declines_in_words(batch: str) -> None:
    inputs, arguments = problem(**of_all.BATCHES[batch])
    with pytest.raises(Unsupported, match="flex and sdpa_mask"):
        alibi_attention(*inputs, **arguments, variant=NAME)


@pytest.mark.parametrize("batch", ["padded left", "padded both, bidirectional", "empty cache"])
def test_garbage_in_padding_reaches_neither_outputs_nor_gradients(batch: str) -> None:
    (q, k, v), arguments = problem(**of_all.BATCHES[batch])
    is_padding = of_all.padding_of(k.shape[2], arguments)
    k, v = (of_all.poison_padding(tokens, is_padding, math.nan) for tokens in (k, v))
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    out = alibi_attention(*leaves, **arguments, variant=NAME)
    of_all.assert_right(out.detach(), of_all.answer_to(batch).out)
    found = torch.autograd.grad((out * of_all.d_out_of(out)).sum(), leaves)
    for gradient, exact in zip(found, of_all.gradients_of(batch), strict=True):
        of_all.assert_right(gradient, exact)


@pytest.mark.parametrize("q_len", [5, 30])
def test_a_batch_of_no_sequences_is_zeros_without_gradients(q_len: int) -> None:
    none = torch.tensor([0])
    (q, k, v), arguments = problem(batch=1, q_len=q_len, cu_seqlens=none, cu_seqlens_k=none)
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    out, log_sum_exp = alibi_attention(*leaves, **arguments, variant=NAME, return_lse=True)
    assert not out.any()
    assert (log_sum_exp == -math.inf).all()
    for gradient in torch.autograd.grad(out.sum(), leaves):
        assert not gradient.any()


def test_slopes_of_a_batch_learn() -> None:
    inputs, arguments = problem(**of_all.BATCHES["slopes by batch entry"])
    wide = arguments["slopes"].double().requires_grad_()
    answer(*inputs, slopes=wide).out.square().sum().backward()
    slopes = arguments["slopes"].clone().requires_grad_()
    alibi_attention(*inputs, slopes=slopes, variant=NAME).square().sum().backward()
    of_all.assert_right(slopes.grad, wide.grad)


def test_the_log_sum_exp_has_a_gradient() -> None:
    (q, k, v), arguments = problem()
    wide = [tensor.double().requires_grad_() for tensor in (q, k, v)]
    wanted = answer(*wide, **arguments)
    exact = torch.autograd.grad(wanted.log_sum_exp.sum() + wanted.out.sum(), wide)
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    out, log_sum_exp = alibi_attention(*leaves, **arguments, variant=NAME, return_lse=True)
    for gradient, right in zip(
        torch.autograd.grad(log_sum_exp.sum() + out.sum(), leaves), exact, strict=True
    ):
        of_all.assert_right(gradient, right)


def test_a_gradient_of_a_gradient_is_refused_by_name() -> None:
    (q, k, v), arguments = problem()
    q.requires_grad_()
    out = alibi_attention(q, k, v, **arguments, variant=NAME)
    (gradient,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    with pytest.raises(Unsupported, match="triton_window's gradient has no gradient"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    "sizes",
    [
        {"form": "packed", "causal": False},
        {"form": "padded", "causal": True},
        {"form": "packed", "q_lens": (9, 33, 1), "q_len": 33, "mode": "forward"},
    ],
    ids=str,
)
def test_a_ragged_batch_of_the_races_agrees(sizes: dict[str, Any]) -> None:
    shape = {"heads": 2, "kv_heads": 1, "head_dim": 16, "q_len": 90, "kv_len": 90, "batch": 3}
    usual = {"seq_lens": (90, 33, 7), "dtype": "float32", "mode": "backward"}
    case = Case(**shape | usual | sizes)
    subject = Subject("variants.triton.triton_window", {}, answers="alibi")
    found = PreparedCase(subject, case, 0, Bench(torch.device("cpu"))).check("before", 1)
    assert found.agrees, found
