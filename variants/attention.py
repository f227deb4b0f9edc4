"""alibi_attention: any variant of the catalog as one function, for a model's own code."""

import importlib
from functools import lru_cache

import torch
from torch import Tensor

from variants.catalog import CATALOG, Variant
from variants.dispatch import auto
from variants.dispatch.arguments import check_fit, check_kinds, check_scale, check_slopes
from variants.dispatch.prepared_cache import PreparedCache
from variants.problem import Attention, Spec, Unsupported, alibi_slopes

PREPARED_AT_MOST, BYTES_AT_MOST = 128, 1 << 30
_KEPT = PreparedCache(PREPARED_AT_MOST, BYTES_AT_MOST)
_BY_NAME = {variant.name: variant for variant in CATALOG if variant.answers == "alibi"}


@torch.compiler.disable  # type: ignore[untyped-decorator]
def alibi_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    slopes: Tensor | None = None,
    causal: bool = True,
    scale: float | None = None,
    variant: str = "auto",
) -> Tensor:
    """Return softmax(scale * q k^T - slope |i - j|) v, [batch, heads, q_len, head_dim] like q.

    q is [batch, heads, q_len, head_dim], k and v [batch, kv_heads, kv_len, head_dim], all float32,
    bfloat16 or float16 on one device; query row r stands at position r + kv_len - q_len. `slopes`
    [heads] are positive float32, by default the standard rule's for that head count; `scale` is
    positive, by default 1 / sqrt(head_dim). What a variant builds for a shape is kept for the next
    call of that shape: of the last 128, while they hold a GiB at most or are one. Slopes may be
    written to between calls, but on CUDA not through `.data`, which nothing tells of. `variant`
    "auto" is the one that was measured to be fastest for the shape here (variants.dispatch.auto).

    Under autocast q, k and v are cast to its dtype, as torch's own attention does. Under
    torch.compile the call is a graph break: a variant that is compiled is so by itself. A CUDA
    graph can capture a call whose like was made before.

    Raises ValueError for tensors that don't fit together, and variants.problem.Unsupported where
    the variant can't do this, with what would help.
    """
    q, k, v, slopes = _fitting(q, k, v, slopes, causal, scale)
    attention = _prepared(_checked_name(variant), _spec(q, k, v, slopes, causal, scale))
    if not torch.is_autocast_enabled(q.device.type):
        return attention(q, k, v, slopes)
    with torch.autocast(q.device.type, enabled=False):
        return attention(q, k, v, slopes)


def variant_for(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    slopes: Tensor | None = None,
    causal: bool = True,
    scale: float | None = None,
) -> str:
    """Return the name of the variant that `alibi_attention` with "auto" uses for such tensors.

    Takes and raises what that does.
    """
    q, k, v, slopes = _fitting(q, k, v, slopes, causal, scale)
    return auto.choice(_spec(q, k, v, slopes, causal, scale))


def _fitting(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor | None, causal: bool, scale: float | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tensors that fit together, in autocast's dtype, with the slopes that are meant."""
    check_kinds(q, k, v)
    kind = q.device.type
    if torch.is_autocast_enabled(kind):
        narrow = torch.get_autocast_dtype(kind)
        q, k, v = q.to(narrow), k.to(narrow), v.to(narrow)
    check_fit(q, k, v, causal=causal)
    check_scale(scale)
    if slopes is None:
        return q, k, v, _standard_slopes(q.shape[1], q.device)
    check_slopes(slopes, q.shape[1], q.device)
    return q, k, v, slopes


def _spec(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, causal: bool, scale: float | None
) -> Spec:
    wants = torch.is_grad_enabled()
    return Spec(
        batch=q.shape[0],
        heads=q.shape[1],
        kv_heads=k.shape[1],
        q_len=q.shape[2],
        kv_len=k.shape[2],
        head_dim=q.shape[3],
        dtype=q.dtype,
        device=q.device,
        scale=q.shape[3] ** -0.5 if scale is None else float(scale),
        causal=causal,
        needs_grad=wants and any(tensor.requires_grad for tensor in (q, k, v)),
        slopes_need_grad=wants and slopes.requires_grad,
        layout="bhnd" if q.stride(1) >= q.stride(2) else "bnhd",
    )


def _prepared(variant: str, spec: Spec) -> Attention:
    return _KEPT.get(variant, spec, lambda: _prepare(_BY_NAME[variant], spec))


def _prepare(line: Variant, spec: Spec) -> Attention:
    if spec.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise Unsupported(
            f"{line.name} would build and compile for a new shape inside a CUDA graph's capture; "
            "call it once with such tensors before"
        )
    attention: Attention = importlib.import_module(line.module).prepare(spec, **line.options)
    return attention


@lru_cache(maxsize=PREPARED_AT_MOST)
def _standard_slopes(heads: int, device: torch.device) -> Tensor:
    # Made outside of whatever mode the caller is in, because it outlives the call.
    with torch.inference_mode(mode=False), torch.no_grad():
        return alibi_slopes(heads).to(device)


def _checked_name(variant: str) -> str:
    if variant not in _BY_NAME:
        raise ValueError(f"variant {variant!r}: there are {', '.join(_BY_NAME)}")
    return variant
