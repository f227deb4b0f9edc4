"""One call of alibi_attention, checked: its tensors in one dtype, and its spec."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from variants.batches.pages import room_of
from variants.batches.sequences import Sequences
from variants.dispatch.checks import passed_calls
from variants.dispatch.checks.arguments import check_kinds, check_slopes, check_together
from variants.dispatch.checks.batch_arguments import Settings, check_kv_lens, extras_of
from variants.problem import Spec, alibi_slopes
from variants.tracing import is_traced


class Call(NamedTuple):
    """What a variant is prepared from and called with."""

    q: Tensor
    k: Tensor
    v: Tensor
    slopes: Tensor
    sequences: Sequences
    spec: Spec


def check_call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor | None,
    sequences: Sequences,
    settings: Settings,
) -> Call:
    """Return the call with q, k and v in autocast's dtype; raise ValueError if they don't fit."""
    signature = passed_calls.signature_of(q, k, v, slopes, sequences, settings)
    spec = None if signature is None else passed_calls.spec_of(signature)
    if spec is not None:
        if slopes is None:
            slopes = standard_slopes(spec.heads, spec.device)
        else:
            check_slopes(slopes, spec.batch, spec.heads, spec.device)
        if sequences.kv_lens is not None:
            check_kv_lens(sequences.kv_lens, spec.kv_len)
        return Call(q, k, v, slopes, sequences, spec)
    check_kinds(q, k, v)
    given = (k, v)
    q, k, v = in_autocast_dtype(q, k, v)
    sequences = norms_of_same(sequences, given, (k, v))
    check_together(q, k, v, slopes, sequences, settings.scale)
    if slopes is None:
        make_slopes = standard_slopes.__wrapped__ if is_traced() else standard_slopes
        slopes = make_slopes(int(q.shape[1]), q.device)
    spec = _spec(q, k, v, slopes, sequences, settings)
    if signature is not None:
        passed_calls.note(signature, spec)
    return Call(q, k, v, slopes, sequences, spec)


def in_autocast_dtype(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, k and v in autocast's dtype if autocast is on."""
    kind = q.device.type
    if not torch.is_autocast_enabled(kind):
        return q, k, v
    dtype = torch.get_autocast_dtype(kind)
    return q.to(dtype), k.to(dtype), v.to(dtype)


def norms_of_same(
    sequences: Sequences, tensors: tuple[Tensor, Tensor], casts: tuple[Tensor, Tensor]
) -> Sequences:
    """Return the sequences, without norms where k or v was cast: a cast can make a key longer."""
    is_same = all(before is after for before, after in zip(tensors, casts, strict=True))
    return sequences if is_same else sequences._replace(norms=None)


def _spec(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences, settings: Settings
) -> Spec:
    grad_enabled = torch.is_grad_enabled()
    batch, heads, q_len, head_dim = map(int, q.shape)  # torch.jit.trace has tensors for sizes
    kv_heads = int(k.shape[1])
    return Spec(
        batch=batch,
        heads=heads,
        kv_heads=kv_heads,
        q_len=q_len,
        kv_len=int(room_of(k, sequences.block_tables)),
        head_dim=head_dim,
        dtype=q.dtype,
        device=q.device,
        scale=head_dim**-0.5 if settings.scale is None else float(settings.scale),
        causal=settings.causal,
        needs_grad=grad_enabled and any(tensor.requires_grad for tensor in (q, k, v)),
        slopes_need_grad=grad_enabled and slopes.requires_grad,
        layout="bhnd" if q.stride(1) >= q.stride(2) else "bnhd",
        extras=extras_of(q, k, v, slopes, sequences, settings),
    )


@lru_cache(maxsize=128)
def standard_slopes(heads: int, device: torch.device) -> Tensor:
    """Return the slopes of the standard rule on a device: [heads] float32, shared by all calls."""
    # The cached tensor outlives the call, so the caller's grad and inference modes must not apply.
    with torch.inference_mode(mode=False), torch.no_grad(), torch.device("cpu"):
        return alibi_slopes(heads).to(device)
