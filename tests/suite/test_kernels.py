"""The profiler tells which attention kernel a call ran."""

import torch
from torch.nn.functional import scaled_dot_product_attention

from suite import kernels


def test_stock_attention_on_a_cpu_names_the_flash_operator_once() -> None:
    q = torch.randn(1, 2, 16, 64)

    def two_calls() -> None:
        scaled_dot_product_attention(q, q, q, is_causal=True)
        scaled_dot_product_attention(q, q, q, is_causal=True)

    assert kernels.of(two_calls) == ["scaled_dot_product_flash_attention_for_cpu"]


def test_a_mask_that_wants_a_gradient_leaves_the_flash_operator() -> None:
    q = torch.randn(1, 2, 16, 64)
    mask = torch.zeros(16, 16, requires_grad=True)
    names = kernels.of(lambda: scaled_dot_product_attention(q, q, q, attn_mask=mask))
    assert names == ["scaled_dot_product_attention_math"]


def test_forward_and_backward_name_both_operators_in_order() -> None:
    q = torch.randn(1, 2, 16, 64, requires_grad=True)
    dout = torch.randn(1, 2, 16, 64)
    names = kernels.of(lambda: torch.autograd.grad(scaled_dot_product_attention(q, q, q), q, dout))
    assert names == [
        "scaled_dot_product_flash_attention_for_cpu",
        "scaled_dot_product_flash_attention_for_cpu_backward",
    ]


def test_plain_matrix_products_name_no_operator() -> None:
    q = torch.randn(1, 2, 16, 64)
    assert kernels.of(lambda: torch.softmax(q @ q.mT, dim=-1) @ q) == []


def test_the_call_is_made_once() -> None:
    calls: list[int] = []
    kernels.of(lambda: calls.append(1))
    assert calls == [1]
