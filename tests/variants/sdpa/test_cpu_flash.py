"""A mask together with is_causal: one door to torch's flash kernel, the same in every torch."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from tests.variants.formula import TOLERANCE, UNCOMPILED, assert_close, tensors, truth
from variants.attention import alibi_attention
from variants.problem import Unsupported, alibi_slopes
from variants.sdpa.cpu_flash import attend_causally

SCALE = 32**-0.5


def key_row(length: int) -> Tensor:
    """Return the standard slopes' bias by key: [1, 4, 1, length]."""
    return alibi_slopes(4)[None, :, None, None] * torch.arange(1 - length, 1)


def dense_bias(length: int) -> Tensor:
    """Return the bias by query and key: [1, 4, length, length], over 0 for keys to come."""
    position = torch.arange(length)
    return alibi_slopes(4)[None, :, None, None] * (position - position[:, None])


@pytest.mark.matrix
@pytest.mark.parametrize("bias", [key_row, dense_bias])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("length", [1, 48, 600])
def test_it_is_causal_attention_with_gradients_through_fewer_kv_heads(
    length: int, dtype: torch.dtype, bias: Callable[[int], Tensor]
) -> None:
    inputs = tensors(kv_heads=2, q_len=length, kv_len=length, dtype=dtype)
    q, k, v = given = [tensor.clone().requires_grad_() for tensor in inputs]
    exact = [tensor.double().requires_grad_() for tensor in inputs]
    out = attend_causally(q, k, v, bias(length), SCALE)
    wanted = truth(*exact)
    assert out.dtype == dtype
    assert_close(out.detach(), wanted.detach(), dtype)
    weights = torch.randn_like(wanted).to(dtype)
    found_gradients = torch.autograd.grad(out, given, weights)
    wanted_gradients = torch.autograd.grad(wanted, exact, weights.double())
    for found, right in zip(found_gradients, wanted_gradients, strict=True):
        if right.any():  # a query alone has one weight, 1, whatever q and k are
            assert_close(found, right, dtype)


@pytest.mark.parametrize("place", range(3))
def test_numbers_that_do_not_lie_side_by_side_are_declined(place: int) -> None:
    inputs = [*tensors()]
    inputs[place] = torch.stack([inputs[place], inputs[place]], dim=-1)[..., 0]
    q, k, v = inputs
    with pytest.raises(Unsupported, match="make q, k and v contiguous"):
        attend_causally(q, k, v, key_row(48), SCALE)


def test_it_declines_where_flash_is_off_and_takes_it_up_again() -> None:
    with sdpa_kernel(SDPBackend.MATH), pytest.raises(Unsupported, match="it is off"):
        attend_causally(*tensors(), key_row(48), SCALE)
    attend_causally(*tensors(), key_row(48), SCALE)


class NoMaskWithCausal(TorchFunctionMode):
    """Fails where SDPA is given what it refuses from torch 2.14 on, in older versions too."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Return the function's answer."""
        named = dict(zip(("attn_mask", "dropout_p", "is_causal"), args[3:], strict=False))
        named |= kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention:
            assert named.get("attn_mask") is None or not named.get("is_causal")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("needs_grad", [False, True])
@pytest.mark.parametrize(("q_len", "kv_len"), [(1, 1), (300, 300), (1, 700), (200, 500)])
@pytest.mark.parametrize("name", UNCOMPILED)
def test_no_variant_gives_sdpa_a_mask_together_with_is_causal(
    name: str, q_len: int, kv_len: int, *, needs_grad: bool
) -> None:
    inputs = tensors(q_len=q_len, kv_len=kv_len, dtype=torch.bfloat16)
    inputs[0].requires_grad_(needs_grad)
    with NoMaskWithCausal(), suppress(Unsupported):
        alibi_attention(*inputs, variant=name)


def test_a_mask_together_with_is_causal_would_be_seen() -> None:
    q, k, v = tensors()
    with NoMaskWithCausal(), pytest.raises(AssertionError):
        torch.nn.functional.scaled_dot_product_attention(q, k, v, key_row(48), is_causal=True)
