"""The kernels in C++ as one torch operator, which the profiler names and torch.compile keeps whole.

`kernels/native_window.cpp` is the mathematics; here are its arguments and the memory it works in.
"""

import ctypes
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from variants.building import built
from variants.windows import tolerance

SOURCE = Path(__file__).parent / "kernels" / "native_window.cpp"
MOST_HEAD_DIM = 256
BLOCK = 64  # queries, and keys
_TILE = 32  # of head_dim
_SCHEMA = "native_window(Tensor q, Tensor k, Tensor v, Tensor slopes, float scale) -> Tensor"
_ROUNDED = 0.01  # what sums of exponents, up to 2^17, may be off by


class _Strides(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "head", "row")]


class _Call(ctypes.Structure):
    """`Call` of kernels/call.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "slopes", "out", "norms", "packed")),
        *((f"{name}_strides", _Strides) for name in ("q", "k", "v", "out")),
        *((name, ctypes.c_int64) for name in ("batch", "heads", "kv_heads", "q_len", "kv_len")),
        *((name, ctypes.c_int64) for name in ("head_dim", "threads", "looked_at")),
        *((name, ctypes.c_float) for name in ("scale", "least")),
    ]


@cache
def library() -> ctypes.CDLL:
    """Return the kernels, built at the first call. Raises Unsupported where they can't be."""
    found = built(SOURCE)
    found.has_bfloat16.restype = ctypes.c_bool
    return found


def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, scale: float) -> tuple[Tensor, int]:
    """Return the output, [batch, heads, q_len, head_dim], and how many pairs were looked at.

    q is [batch, heads, q_len, head_dim], k and v [batch, kv_heads, kv_len, head_dim], slopes
    [heads] float32. What needs no more than float32 is computed in float32, and bfloat16 with AMX
    tiles where there are any. Raises Unsupported where the kernels can't be built.
    """
    kernels, dtype = library(), q.dtype
    share = tolerance(dtype)
    in_tiles = dtype == torch.bfloat16 and kernels.has_bfloat16()
    q, k, v = (_rows(part if in_tiles else part.float()) for part in (q, k, v))
    batch, heads, q_len, head_dim = q.shape
    kv_heads, kv_len = k.shape[1:3]
    blocks = -(-kv_len // BLOCK)
    out = torch.empty_like(q)
    norms = torch.empty(batch * kv_heads * blocks)
    tiles = 2 * norms.numel() * BLOCK * -(-head_dim // _TILE) * _TILE if in_tiles else 0
    packed = torch.empty(tiles, dtype=q.dtype)
    call = _Call(
        *(part.data_ptr() for part in (q, k, v, slopes.contiguous(), out, norms, packed)),
        *(_Strides(*part.stride()[:3]) for part in (q, k, v, out)),
        *(batch, heads, kv_heads, q_len, kv_len, head_dim, torch.get_num_threads(), 0),
        *(scale * math.log2(math.e), math.log2(share) - _ROUNDED),
    )
    (kernels.attend_in_bfloat16 if in_tiles else kernels.attend_in_float32)(ctypes.byref(call))
    return out.to(dtype), call.looked_at


@cache
def operator() -> Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]:
    """Return `attend` as torch's own: (q, k, v, slopes, scale) -> out."""
    _registered()
    return cast(
        Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor],
        torch.ops.alibi_bench.native_window.default,
    )


@cache
def _registered() -> torch.library.Library:
    """Register the operator; it goes when the library that is returned does."""
    fragment = torch.library.Library("alibi_bench", "FRAGMENT")  # type: ignore[no-untyped-call]
    fragment.define(_SCHEMA)  # type: ignore[no-untyped-call]
    fragment.impl(  # type: ignore[no-untyped-call]
        "native_window", lambda *call: attend(*call)[0], "CPU"
    )
    torch.library.register_fake(
        "alibi_bench::native_window", lambda q, *_: torch.empty_like(q), lib=fragment
    )
    return fragment


def _rows(tensor: Tensor) -> Tensor:
    """Return the tensor with each head's rows whole in memory."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
