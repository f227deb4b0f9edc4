"""The C++ kernel as one torch operator, which the profiler names and torch.compile leaves whole.

`native_window.cpp` is the mathematics. This module checks its arguments and allocates its memory.
"""

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from variants.compiled.cpp_build import FLAGS, build_library
from variants.problem import Unsupported
from variants.windows import tolerance

BLOCK = 64  # queries or keys in a block
MOST_HEAD_DIM = 256
MOST_KEYS = 1 << 24  # positions are float32, exact up to here
_CHUNK = 32  # keys and head_dim are padded to multiples of this
_SOURCE = Path(__file__).with_name("native_window.cpp")
_SCHEMA = (
    "native_window(Tensor q, Tensor k, Tensor v, Tensor slopes, float scale, bool causal) -> Tensor"
)
_ROUNDED = 0.03  # log2: the error of exponents up to 2^15 and of sums over MOST_KEYS
_lock = Lock()

Operator = Callable[[Tensor, Tensor, Tensor, Tensor, float, bool], Tensor]


class _Strides(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "head", "row")]


class _Call(ctypes.Structure):
    """The struct `Call` of call.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "slopes", "out", "norms", "packed")),
        *((f"{name}_strides", _Strides) for name in ("q", "k", "v", "out")),
        *((name, ctypes.c_int64) for name in ("batch", "heads", "kv_heads", "q_len", "kv_len")),
        *((name, ctypes.c_int64) for name in ("head_dim", "threads", "causal", "looked_at")),
        *((name, ctypes.c_float) for name in ("scale", "least")),
    ]


def load(flags: Sequence[str] = FLAGS) -> ctypes.CDLL:
    """Return the kernels, built with `flags`.

    Raises Unsupported where they can't be built, RuntimeError where the layouts of C++ and Python
    differ.
    """
    kernels = build_library(_SOURCE, flags)
    kernels.has_bfloat16.restype = ctypes.c_bool
    kernels.layout.restype = ctypes.c_int64
    layout = [kernels.layout(which) for which in range(5)]
    if layout != [ctypes.sizeof(_Call), BLOCK, BLOCK, _CHUNK, MOST_HEAD_DIM]:
        raise RuntimeError(
            f"{_SOURCE.name} and {Path(__file__).name} differ in their layout: {layout}"
        )
    return kernels


def library() -> ctypes.CDLL:
    """Return the kernels, built at the first call. Raises Unsupported where they can't be built."""
    outcome = _outcome()
    if isinstance(outcome, str):
        raise Unsupported(outcome)  # a stored exception would hold every call's tensors
    return outcome


@cache
def _outcome() -> ctypes.CDLL | str:
    """Return the kernels, or the reason why they can't be built: no later call builds again."""
    try:
        return load()
    except Unsupported as reason:
        return str(reason)


def attend(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, scale: float, causal: bool
) -> tuple[Tensor, int]:
    """Return the output [batch, heads, q_len, head_dim], and the number of pairs computed.

    q is [batch, heads, q_len, head_dim], k and v are [batch, kv_heads, kv_len, head_dim], slopes
    are [heads] float32. bfloat16 is computed in AMX tiles where the machine has them, all else in
    float32. Raises Unsupported where the kernels can't be built, and ValueError for a head_dim,
    length, dtype of slopes or causal q_len that they can't take.
    """
    _refuse(q, k, slopes, causal)
    kernels, dtype = library(), q.dtype
    share = tolerance(dtype) / (1 if causal else 2)  # of the weight, for each side to leave out
    in_tiles = dtype == torch.bfloat16 and kernels.has_bfloat16()
    q, k, v = (_rows(part if in_tiles else part.float()) for part in (q, k, v))
    slopes, out = slopes.contiguous(), _out_like(q)
    batch, heads, q_len, head_dim = q.shape
    kv_heads, kv_len = k.shape[1:3]
    blocks = -(-kv_len // BLOCK)
    norms = q.new_empty(batch * kv_heads * blocks, dtype=torch.float32)
    tiles = 2 * norms.numel() * BLOCK * -(-head_dim // _CHUNK) * _CHUNK if in_tiles else 0
    packed = q.new_empty(tiles)
    call = _Call(
        *(part.data_ptr() for part in (q, k, v, slopes, out, norms, packed)),
        *(_Strides(*part.stride()[:3]) for part in (q, k, v, out)),
        *(batch, heads, kv_heads, q_len, kv_len, head_dim, torch.get_num_threads(), causal, 0),
        *(scale * math.log2(math.e), math.log2(share) - _ROUNDED),
    )
    (kernels.attend_in_bfloat16 if in_tiles else kernels.attend_in_float32)(ctypes.byref(call))
    return out.to(dtype), call.looked_at


def operator() -> Operator:
    """Return `attend` as a torch operator, which returns the output alone."""
    with _lock:
        _register()
    return cast(Operator, torch.ops.alibi_bench.native_window.default)


@cache
def _register() -> torch.library.Library:
    """Register the operator, which lives as long as the returned library."""
    fragment = torch.library.Library("alibi_bench", "FRAGMENT")  # type: ignore[no-untyped-call]
    fragment.define(_SCHEMA)  # type: ignore[no-untyped-call]
    fragment.impl(  # type: ignore[no-untyped-call]
        "native_window", lambda *call: attend(*call)[0], "CPU"
    )
    fragment.impl("native_window", _refuse_derivatives, "Autograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(
        "alibi_bench::native_window", lambda q, *_: _out_like(q), lib=fragment
    )
    return fragment


def _refuse_derivatives(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, scale: float, causal: bool
) -> Tensor:
    """Call the operator, or raise Unsupported where it would have to give derivatives.

    Without this rule torch would take the output for a constant.
    """
    tensors = (q, k, v, slopes)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise Unsupported("the kernel has no backward; eager, compile and sdpa_mask do")
    if forward_ad._current_level >= 0 and any(map(_has_tangent, tensors)):
        raise Unsupported("the kernel has no forward-mode derivative; eager has")
    with torch._C._AutoDispatchBelowAutograd():
        return operator()(q, k, v, slopes, scale, causal)


def _has_tangent(tensor: Tensor) -> bool:
    dual = forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call]
    return dual.tangent is not None


def _refuse(q: Tensor, k: Tensor, slopes: Tensor, causal: bool) -> None:
    """Raise ValueError for arguments that the kernel would read out of bounds or answer wrongly."""
    if q.shape[3] > MOST_HEAD_DIM:
        raise ValueError(f"head_dim {q.shape[3]}: the kernel has room for {MOST_HEAD_DIM}")
    if max(q.shape[2], k.shape[2]) > MOST_KEYS:
        raise ValueError(f"length {max(q.shape[2], k.shape[2])}: the kernel counts to {MOST_KEYS}")
    if causal and q.shape[2] > k.shape[2]:
        raise ValueError(f"q_len {q.shape[2]}: causal attention takes at most {k.shape[2]} here")
    if slopes.dtype != torch.float32:
        raise ValueError(f"slopes {slopes.dtype}: the kernel reads float32")


def _rows(tensor: Tensor) -> Tensor:
    """Return the tensor with contiguous rows, copied only where needed."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _out_like(q: Tensor) -> Tensor:
    """Return an uninitialised output; in memory [batch, length, heads, head_dim] if q is."""
    batch, heads, length, head_dim = q.shape
    if q.transpose(1, 2).is_contiguous():
        return q.new_empty(batch, length, heads, head_dim).transpose(1, 2)
    return q.new_empty(q.shape)
