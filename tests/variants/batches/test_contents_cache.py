"""What is built from sequences serves the next call if that brings the same, and no other."""

import torch
from torch import Tensor

from tests.variants.formula import tensors
from variants.attention import alibi_attention
from variants.batches.contents_cache import cache_by_contents
from variants.batches.sequences import Sequences

SLOPES = torch.tensor([0.5, 0.25])
PADDING = torch.tensor([[True, False, False]])


class Builder:
    """Counts how often something is built."""

    def __init__(self) -> None:
        self.times = 0
        self.cached = cache_by_contents(self.build)

    def build(self, slopes: Tensor, sequences: Sequences) -> Tensor:
        """Return a tensor of its own for each call."""
        assert isinstance(sequences, Sequences)
        self.times += 1
        return slopes * 2


def test_equal_contents_are_built_from_once_whichever_tensors_hold_them() -> None:
    builder = Builder()
    first = builder.cached(SLOPES, Sequences(PADDING))
    assert builder.cached(SLOPES.clone(), Sequences(PADDING.clone())) is first
    assert builder.times == 1


def test_norms_of_a_cache_that_grows_build_nothing_anew() -> None:
    builder = Builder()
    for norms in (None, torch.zeros(1), torch.ones(1)):
        builder.cached(SLOPES, Sequences(PADDING, norms=norms))
    assert builder.times == 1


def test_other_contents_forms_dtypes_and_writes_are_built_from_anew() -> None:
    builder = Builder()
    lengths, slopes = torch.tensor([2]), SLOPES.clone()
    for sequences in (
        Sequences(),
        Sequences(PADDING),
        Sequences(~PADDING),
        Sequences(kv_lens=lengths),
        Sequences(kv_lens=lengths.int()),
        Sequences(cu_seqlens=lengths.int()),
    ):
        before = builder.times
        builder.cached(slopes, sequences)
        assert builder.times == before + 1
    slopes.data[0] = 7.0
    assert builder.cached(slopes, Sequences(cu_seqlens=lengths.int())).tolist() == [14.0, 0.5]


def test_slopes_that_learn_are_built_from_at_every_call() -> None:
    builder, slopes = Builder(), SLOPES.clone().requires_grad_()
    for _ in range(2):
        assert builder.cached(slopes, Sequences()).requires_grad
    assert builder.times == 2


def test_what_is_built_in_inference_mode_serves_training() -> None:
    q, k, v = tensors()
    padding = torch.zeros(2, 48, dtype=torch.bool)
    padding[0, :7] = True
    with torch.inference_mode():
        inside = alibi_attention(q, k, v, key_padding=padding, variant="sdpa_mask")
    out = alibi_attention(q.requires_grad_(), k, v, key_padding=padding, variant="sdpa_mask")
    out.sum().backward()
    assert torch.equal(out, inside)
    assert q.grad is not None
