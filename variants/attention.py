"""alibi_attention: any variant of the catalog as one function, for a model's own code."""

import importlib
import math
from functools import lru_cache

import torch
from torch import Tensor

from variants.catalog import CATALOG, Variant
from variants.problem import Attention, Spec, Unsupported, alibi_slopes

PREPARED_AT_MOST = 128
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
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
    variant: str = "flex",
) -> Tensor:
    """Return softmax(scale * q k^T - slope |i - j|) v, [batch, heads, q_len, head_dim] like q.

    q is [batch, heads, q_len, head_dim], k and v [batch, kv_heads, kv_len, head_dim], all float32,
    bfloat16 or float16 on one device; query row r stands at position r + kv_len - q_len. `slopes`
    [heads] are positive float32, by default the standard rule's for that head count; `scale` is
    positive, by default 1 / sqrt(head_dim). What a variant builds for a shape is kept for the next
    call of that shape, the last 128 of them. Slopes may be written to between calls, but on CUDA
    not through `.data`, which nothing tells of.

    Under autocast q, k and v are cast to its dtype, as torch's own attention does. Under
    torch.compile the call is a graph break: a variant that is compiled is so by itself. A CUDA
    graph can capture a call whose like was made before.

    Raises ValueError for tensors that don't fit together, and variants.problem.Unsupported where
    the variant can't do this, with what would help.
    """
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        _check_kind(name, tensor)
    kind = q.device.type
    if torch.is_autocast_enabled(kind):
        narrow = torch.get_autocast_dtype(kind)
        q, k, v = (tensor.to(narrow) for tensor in (q, k, v))
    _check(q, k, v, slopes, causal)
    if isinstance(scale, Tensor):
        raise ValueError("scale is a tensor: give a number, and multiply q by one that is learned")
    if scale is not None and not 0 < scale < math.inf:  # sdpa_key multiplies -inf by it
        raise ValueError(f"scale {scale}: give a number over 0")
    slopes = _standard_slopes(q.shape[1], q.device) if slopes is None else slopes
    attention = _prepared(_named(variant), _spec(q, k, v, slopes, causal, scale))
    with torch.autocast(kind, enabled=False):
        return attention(q, k, v, slopes)


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


@lru_cache(maxsize=PREPARED_AT_MOST)
def _prepared(variant: str, spec: Spec) -> Attention:
    if spec.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise Unsupported(
            f"{variant} would build and compile for a new shape inside a CUDA graph's capture; "
            "call it once with such tensors before"
        )
    line: Variant = _BY_NAME[variant]
    prepare = importlib.import_module(line.module).prepare
    attention: Attention = prepare(spec, **line.options)
    return attention


@lru_cache(maxsize=PREPARED_AT_MOST)
def _standard_slopes(heads: int, device: torch.device) -> Tensor:
    # Made outside of whatever mode the caller is in, because it outlives the call.
    with torch.inference_mode(mode=False), torch.no_grad():
        return alibi_slopes(heads).to(device)


def _named(variant: str) -> str:
    if variant not in _BY_NAME:
        raise ValueError(f"variant {variant!r}: there are {', '.join(_BY_NAME)}")
    return variant


def _check_kind(name: str, tensor: Tensor) -> None:
    if tensor.is_nested or tensor.layout != torch.strided:
        raise ValueError(f"{name} is nested or sparse: give a dense tensor")
    if tensor.dim() != 4:
        shape = "[batch, heads, length, head_dim]"
        raise ValueError(f"{name} has shape {list(tensor.shape)}: give {shape}")
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"{name} is {tensor.dtype}: give float32, bfloat16 or float16")
    if tensor.device.type not in {"cpu", "cuda"}:
        raise ValueError(f"{name} is on {tensor.device}: give the CPU or a CUDA GPU")


def _check(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor | None, causal: bool) -> None:
    for name, tensor in (("k", k), ("v", v)):
        if tensor.dtype != q.dtype or tensor.device != q.device:
            raise ValueError(
                f"{name} is {tensor.dtype} on {tensor.device}, q {q.dtype} on {q.device}: "
                "give one dtype and device"
            )
    if k.shape != v.shape:
        raise ValueError(f"k is {list(k.shape)} and v {list(v.shape)}: give them the same shape")
    (batch, heads, q_len, head_dim), (kv_batch, kv_heads, kv_len, kv_dim) = q.shape, k.shape
    if (batch, head_dim) != (kv_batch, kv_dim):
        raise ValueError(f"q is {list(q.shape)} and k {list(k.shape)}: batch or head_dim differ")
    if 0 in (*q.shape, *k.shape):
        raise ValueError(f"q is {list(q.shape)} and k {list(k.shape)}: no dimension may be 0")
    if heads % kv_heads:
        raise ValueError(f"{heads} heads can't share {kv_heads} kv heads evenly")
    if causal and q_len > kv_len:
        raise ValueError(
            f"q_len {q_len} is over kv_len {kv_len}: the first causal queries would have no key"
        )
    if slopes is not None:
        _check_slopes(slopes, heads, q.device)


def _check_slopes(slopes: Tensor, heads: int, device: torch.device) -> None:
    if tuple(slopes.shape) != (heads,) or slopes.dtype != torch.float32 or slopes.device != device:
        raise ValueError(
            f"slopes are {slopes.dtype} {list(slopes.shape)} on {slopes.device}: "
            f"give float32 [{heads}] on {device}"
        )
