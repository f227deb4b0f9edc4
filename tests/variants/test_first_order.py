"""A gradient's gradient is right or refused in words, and a first gradient is as it was."""

import pytest
import torch
from torch import Tensor

from tests.variants.formula import NAMES, tensors, truth
from variants.attention import alibi_attention
from variants.problem import Unsupported

TRAINED = [name for name in NAMES if name not in {"eager", "flex"}]


def penalty(out: Tensor, q: Tensor) -> Tensor:
    """Return a loss that depends on a gradient, as a gradient penalty does."""
    (gradient,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    return gradient.square().sum()


@pytest.mark.parametrize("name", TRAINED)
def test_it_is_refused_by_the_variant_s_name_with_one_that_has_it(name: str) -> None:
    q, k, v = tensors(head_dim=64)
    q.requires_grad_()
    loss = penalty(alibi_attention(q, k, v, variant=name), q)
    said = r"\w+" if name == "auto" else name
    with pytest.raises(Unsupported, match=f"({said})'s gradient has no gradient in turn; eager's"):
        loss.backward()


def test_it_is_refused_for_padded_batches_too() -> None:
    q, k, v = tensors(head_dim=64)
    q.requires_grad_()
    padding = torch.zeros(2, 48, dtype=torch.bool)
    loss = penalty(alibi_attention(q, k, v, key_padding=padding, variant="sdpa_mask"), q)
    with pytest.raises(Unsupported, match="sdpa_mask's gradient has no gradient in turn"):
        loss.backward()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", ["eager", "sdpa_mask"])
def test_with_learned_slopes_it_is_the_formula_s(name: str, padded: bool) -> None:
    q, k, v = tensors(head_dim=64)
    slopes = torch.tensor([0.5, 0.1, 0.02, 0.3])
    padding = torch.zeros(2, 48, dtype=torch.bool) if padded else None
    wide, wide_slopes = q.double().requires_grad_(), slopes.double().requires_grad_()
    penalty(truth(wide, k, v, wide_slopes), wide).backward()
    q.requires_grad_()
    slopes.requires_grad_()
    penalty(
        alibi_attention(q, k, v, slopes=slopes, variant=name, key_padding=padding), q
    ).backward()
    for found, wanted in ((q.grad, wide.grad), (slopes.grad, wide_slopes.grad)):
        assert found is not None
        assert wanted is not None
        torch.testing.assert_close(found.double(), wanted, rtol=2e-3, atol=1e-3)


def test_eager_s_is_the_formula_s() -> None:
    q, k, v = tensors(head_dim=64)
    wide = [tensor.double().requires_grad_() for tensor in (q, k, v)]
    penalty(truth(*wide), wide[0]).backward()
    q.requires_grad_()
    penalty(alibi_attention(q, k, v, variant="eager"), q).backward()
    assert q.grad is not None
    assert wide[0].grad is not None
    torch.testing.assert_close(q.grad.double(), wide[0].grad, rtol=1e-3, atol=1e-4)
