"""One call of the C++ kernel: its library, its structures, and the memory that Python allocates."""

import ctypes
import math
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from variants.compiled.cpp_build import build_library, cpp_compiler
from variants.compiled.flags import FLAGS
from variants.compiled.shipped import shipped_library
from variants.problem import Unsupported
from variants.windows import tolerance

BLOCK = 64  # queries or keys in a block
MOST_HEAD_DIM = 256
MOST_KEYS = 1 << 24  # positions are float32, exact up to here
EVERY_KEY = 1 << 40  # further away than any key
SEQUENCE_FIELDS = ("batch", "first_query", "queries", "first_key", "keys", "position")
FEW_QUERIES = 16
"""Up to so many queries of a sequence are computed key by key; more fill a block."""
_CHUNK = 32  # keys and head_dim are padded to multiples of this
_SOURCE = Path(__file__).parent / "kernel" / "native_window.cpp"
_ROUNDED = 0.02  # the error of exponents up to 2^15 and of sums over MOST_KEYS


class _Strides(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "head", "row")]


class _Call(ctypes.Structure):
    """The struct `Call` of call.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "slopes", "out", "log_sum_exp")),
        *((name, ctypes.c_void_p) for name in ("packed", "sequences")),
        *((f"{name}_strides", _Strides) for name in ("q", "k", "v", "out")),
        *((name, ctypes.c_int64) for name in ("heads", "kv_heads", "q_len", "head_dim")),
        *((name, ctypes.c_int64) for name in ("value_dim", "sequence_count")),
        *((name, ctypes.c_int64) for name in ("threads", "packed_blocks", "slopes_batch_stride")),
        *((name, ctypes.c_int64) for name in ("before", "after", "looked_at")),
        *((name, ctypes.c_float) for name in ("scale", "least")),
    ]


_FEW = {
    torch.float32: "attend_few_in_float32",
    torch.bfloat16: "attend_few_in_bfloat16",
    torch.float16: "attend_few_in_float16",
}


class Reach(NamedTuple):
    """How far from its query a key may be: so many positions before it, and after it."""

    before: int
    after: int


CAUSAL, BIDIRECTIONAL = Reach(EVERY_KEY, 0), Reach(EVERY_KEY, EVERY_KEY)


class Attended(NamedTuple):
    """What a call computed.

    `out` is [batch, heads, q_len, value_dim]; `log_sum_exp` is [batch, heads, q_len] float32, empty
    if it was not wanted; `looked_at` is the number of pairs of a query and a key.
    """

    out: Tensor
    log_sum_exp: Tensor
    looked_at: int


def load(flags: Sequence[str] = FLAGS) -> ctypes.CDLL:
    """Return the kernels, built with `flags`.

    Raises Unsupported where they can't be built, RuntimeError where the layouts of C++ and Python
    differ.
    """
    kernels = build_library(_SOURCE, flags)
    _check(kernels)
    return kernels


def _check(kernels: ctypes.CDLL) -> None:
    """Tell the kernels' functions their types. Raises RuntimeError for another layout."""
    kernels.has_bfloat16.restype = ctypes.c_bool
    kernels.layout.restype = ctypes.c_int64
    layout = [kernels.layout(which) for which in range(6)]
    sizes = [ctypes.sizeof(_Call), 8 * len(SEQUENCE_FIELDS)]
    if layout != [*sizes, BLOCK, BLOCK, _CHUNK, MOST_HEAD_DIM]:
        raise RuntimeError(
            f"{_SOURCE.name} and {Path(__file__).name} differ in their layout: {layout}"
        )


@cache
def _shipped() -> ctypes.CDLL | None:
    return shipped_library(_SOURCE, _check)


def check_obtainable() -> None:
    """Raise Unsupported where no kernels came with the wheel and no compiler can build them."""
    if _shipped() is None:
        cpp_compiler("native_window")


def library() -> ctypes.CDLL:
    """Return the kernels: those that came with the wheel, else built at the first call.

    Raises Unsupported where they can't be built.
    """
    outcome = _outcome()
    if isinstance(outcome, str):
        raise Unsupported(outcome)  # a stored exception would hold every call's tensors
    return outcome


@cache
def _outcome() -> ctypes.CDLL | str:
    """Return the kernels, or the reason why they can't be built: no later call builds again."""
    try:
        return _shipped() or load()
    except Unsupported as reason:
        return str(reason)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    scale: float,
    reach: Reach,
    *,
    sequences: Tensor | None = None,
    wants_log_sum_exp: bool = False,
) -> Attended:
    """Return the attention of q to k and v.

    q is [batch, heads, q_len, head_dim], k [batch, kv_heads, kv_len, head_dim], v the same but for
    its value_dim, slopes [heads] or [batch, heads] float32. `sequences` is [sequences, 6] int64 on
    the CPU, a line of SEQUENCE_FIELDS for each group of queries that see the same keys; rows of
    `out` in no sequence are 0. By default each batch entry is one, with queries at the end of its
    keys. bfloat16 is computed in AMX tiles where the machine has them, all else in float32.

    Reads whatever the arguments say: variants.native.torch_operator checks them. Raises Unsupported
    where the kernels can't be built.
    """
    kernels, dtype = library(), q.dtype
    share = tolerance(dtype) / (2 if reach.after else 1)  # of a row, for each side to leave out
    is_whole = sequences is None
    sequences = _whole(q.shape[0], q.shape[2], k.shape[2]) if is_whole else sequences.contiguous()
    few = int(sequences[:, 2].max()) <= FEW_QUERIES if len(sequences) else True
    in_tiles = not few and dtype == torch.bfloat16 and kernels.has_bfloat16()
    q, k, v = (_rows(part if few or in_tiles else part.float()) for part in (q, k, v))
    slopes, out = slopes.contiguous(), out_like(q, v.shape[3])
    if not is_whole:
        out.zero_()
    wanted = q.shape[:3] if wants_log_sum_exp else (0,)
    log_sum_exp = q.new_full(wanted, -math.inf, dtype=torch.float32)
    packed, blocks = _room_for_tiles(k, v, sequences) if in_tiles else (None, 0)
    call = _Call(
        *(part.data_ptr() for part in (q, k, v, slopes, out)),
        log_sum_exp.data_ptr() if wants_log_sum_exp else None,
        *(None if packed is None else packed.data_ptr(), sequences.data_ptr()),
        *(_Strides(*part.stride()[:3]) for part in (q, k, v, out)),
        *(q.shape[1], k.shape[1], q.shape[2], q.shape[3], v.shape[3]),
        *(len(sequences), torch.get_num_threads(), blocks),
        slopes.stride(0) if slopes.dim() == 2 else 0,
        *(*reach, 0, scale, math.log(share) - _ROUNDED),
    )
    wide = kernels.attend_in_bfloat16 if in_tiles else kernels.attend_in_float32
    (getattr(kernels, _FEW[dtype]) if few else wide)(ctypes.byref(call))
    return Attended(out.to(dtype), log_sum_exp, call.looked_at)


def out_like(q: Tensor, value_dim: int) -> Tensor:
    """Return an uninitialised output; in memory [batch, length, heads, value_dim] if q is."""
    batch, heads, length, _ = q.shape
    if q.transpose(1, 2).is_contiguous():
        return q.new_empty(batch, length, heads, value_dim).transpose(1, 2)
    return q.new_empty(batch, heads, length, value_dim)


def _room_for_tiles(k: Tensor, v: Tensor, sequences: Tensor) -> tuple[Tensor, int]:
    """Return room for all keys and values as tiles, and how many blocks of keys that is."""
    blocks = k.shape[1] * sum(-(-keys // BLOCK) for keys in sequences[:, 4].tolist())
    width = sum(-(-part.shape[3] // _CHUNK) * _CHUNK for part in (k, v))
    return k.new_empty(blocks * BLOCK * width), blocks


@lru_cache(maxsize=128)
def _whole(batch: int, q_len: int, kv_len: int) -> Tensor:
    """Return each batch entry as one sequence, whose last query stands at its last key."""
    with torch.device("cpu"):
        return torch.tensor([[row, 0, q_len, 0, kv_len, kv_len - q_len] for row in range(batch)])


def _rows(tensor: Tensor) -> Tensor:
    """Return the tensor with contiguous rows, copied only where needed."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
