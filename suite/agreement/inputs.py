"""The tensors of a case: the same for every variant, another draw for every stage."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.cases.case import Case
from variants.problem import Attention, Spec, alibi_slopes


@dataclass(frozen=True)
class Inputs:
    """q, k, v and slopes as a variant gets them, and dout [like q] where a gradient is wanted."""

    q: Tensor
    k: Tensor
    v: Tensor
    slopes: Tensor
    dout: Tensor | None


def spec_of(case: Case, device: torch.device, kv_len: int | None = None) -> Spec:
    """Return what a variant may know of a case beforehand, or of its step at another kv_len."""
    total = sum(case.seq_lens) if case.form == "packed" else None
    return Spec(
        batch=case.batch if total is None else 1,
        heads=case.heads,
        kv_heads=case.kv_heads,
        q_len=total or case.q_len,
        kv_len=total or kv_len or case.kv_len,
        head_dim=case.head_dim,
        dtype=getattr(torch, case.dtype),
        device=device,
        scale=case.scale_value,
        causal=case.causal,
        needs_grad=case.mode == "backward",
        layout=case.layout,
        seq_lens=case.seq_lens,
        packed=total is not None,
    )


def slopes_of(case: Case) -> Tensor:
    """Return the slopes [heads] that a case's rule gives."""
    slopes = alibi_slopes(case.heads, case.bias_max)
    return slopes * case.head_dim**-0.5 if case.slope_scale == "1/sqrt(d)" else slopes


def draw(case: Case, seed: int, stage: str, device: torch.device) -> Inputs:
    """Draw standard normal inputs, rounded to the case's dtype, times its logit scale.

    Every stage has numbers of its own, and so has every kind of device: a GPU draws its own,
    because a host takes seconds for 32 heads at 32768. Slopes come in the rule's order before
    timing and in reverse after it, so that whatever a variant kept from the first slopes shows.
    """
    key = hashlib.blake2b(f"{seed} {case.id} {stage}".encode(), digest_size=7).digest()
    generator = torch.Generator(device).manual_seed(int.from_bytes(key, "big"))
    spec = spec_of(case, device)

    def normal(heads: int, length: int, factor: float) -> Tensor:
        shape = (spec.batch, heads, length, spec.head_dim)
        tensor = (torch.randn(shape, generator=generator, device=device) * factor).to(spec.dtype)
        if case.layout == "bnhd":
            tensor = tensor.transpose(1, 2).contiguous().transpose(1, 2)
        return tensor

    slopes = slopes_of(case)
    return Inputs(
        q=normal(case.heads, spec.q_len, case.logit_scale).requires_grad_(spec.needs_grad),
        k=normal(case.kv_heads, spec.kv_len, case.logit_scale).requires_grad_(spec.needs_grad),
        v=normal(case.kv_heads, spec.kv_len, case.logit_scale).requires_grad_(spec.needs_grad),
        slopes=(slopes.flip(0) if stage == "after" else slopes).to(device),
        dout=normal(case.heads, spec.q_len, 1.0) if spec.needs_grad else None,
    )


PrepareFunction = Callable[[Spec], Attention]
