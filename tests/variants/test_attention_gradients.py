"""alibi_attention's gradients are the formula's, of learned slopes too, or are refused."""

import pytest
import torch
from torch import Tensor

from tests.variants.formula import NAMES, UNCOMPILED, assert_close, tensors, truth
from tests.variants.test_variants import FORWARD_ONLY
from variants.attention import alibi_attention
from variants.problem import Unsupported, alibi_slopes

# Importing inductor uses what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

LEARNING = ["eager", "compile", "compile_blocks", "sdpa_mask", "native_window"]


@pytest.mark.parametrize("name", sorted({*UNCOMPILED, *LEARNING} - FORWARD_ONLY))
def test_gradients_reach_q_k_and_v(name: str) -> None:
    q, k, v = (one.requires_grad_() for one in tensors(head_dim=64))
    dout = torch.randn_like(q)
    found = torch.autograd.grad(alibi_attention(q, k, v, variant=name), (q, k, v), dout)
    wide = [one.detach().double().requires_grad_() for one in (q, k, v)]
    wanted = torch.autograd.grad(truth(*wide), wide, dout.double())
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other, torch.float32)


def slopes_gradient(name: str) -> tuple[Tensor, Tensor]:
    """Return a variant's gradient of learned slopes, and the formula's in float64."""
    q, k, v = tensors()
    slopes = alibi_slopes(4).requires_grad_()
    dout = torch.randn_like(q)
    out = alibi_attention(q, k, v, slopes=slopes, variant=name)
    (found,) = torch.autograd.grad(out, slopes, dout)
    wide = slopes.detach().double().requires_grad_()
    (wanted,) = torch.autograd.grad(truth(q, k, v, wide), wide, dout.double())
    return found, wanted


@pytest.mark.parametrize("name", LEARNING)
def test_learned_slopes_have_their_gradient(name: str) -> None:
    found, wanted = slopes_gradient(name)
    assert_close(found, wanted, torch.float32)


@pytest.mark.parametrize(
    "name",
    ["flex", "sdpa_key", "sdpa_window", "sdpa_folded", "sdpa_halves"],
)
def test_learned_slopes_are_refused_where_they_would_get_no_gradient(name: str) -> None:
    with pytest.raises(Unsupported, match="eager, compile and sdpa_mask do"):
        slopes_gradient(name)


@pytest.mark.parametrize("name", UNCOMPILED)
def test_learned_slopes_are_slopes_like_others_where_nothing_learns(name: str) -> None:
    q, k, v = tensors()
    slopes = alibi_slopes(4).requires_grad_()
    with torch.no_grad():
        out = alibi_attention(q.requires_grad_(), k, v, slopes=slopes, variant=name)
    assert_close(out, truth(q.detach(), k, v), torch.float32)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LEARNING])
def test_no_variant_gives_learned_slopes_a_wrong_gradient_without_a_word(name: str) -> None:
    try:
        found, wanted = slopes_gradient(name)
    except (Unsupported, RuntimeError):
        return
    assert_close(found, wanted, torch.float32)


def test_flex_says_before_the_first_call_that_a_cpu_has_no_backward_of_it() -> None:
    q, k, v = (one.requires_grad_() for one in tensors())
    with pytest.raises(Unsupported, match=r"backward on CPU.* eager, compile and sdpa_mask"):
        alibi_attention(q, k, v, variant="flex")
