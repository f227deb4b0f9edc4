"""One call of the C++ kernel, and the memory that Python allocates for it."""

import ctypes
import math
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from variants.native.kernel_library import BLOCK, CHUNK, SEQUENCE_FIELDS, CallStructure, library
from variants.windows import tolerance

MOST_KEYS = 1 << 24  # positions are float32, exact up to here
EVERY_KEY = 1 << 40  # further away than any key
FEW_QUERIES = 16
"""Up to so many queries of a sequence are computed key by key; more fill a block."""

_FEW = {
    torch.float32: "attend_few_in_float32",
    torch.bfloat16: "attend_few_in_bfloat16",
    torch.float16: "attend_few_in_float16",
}
_ROUNDED = 0.02  # the error of exponents up to 2^15 and of sums over MOST_KEYS


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
    keys. Blocks of bfloat16 queries are computed in AMX tiles where the machine has them, and all
    else in float32.

    Reads whatever the arguments say: variants.native.torch_operator checks them. Raises Unsupported
    where the kernels can't be built.
    """
    kernels, dtype = library(), q.dtype
    if sequences is None:
        runs = _whole(q.shape[0], q.shape[2], k.shape[2])
    else:
        runs = _given(sequences.contiguous())
    is_few = runs.most_queries <= FEW_QUERIES
    in_tiles = not is_few and dtype == torch.bfloat16 and kernels.has_bfloat16()
    q, k, v = (_rows(part if is_few or in_tiles else part.float()) for part in (q, k, v))
    slopes, out = slopes.contiguous(), out_like(q, v.shape[3])
    if sequences is not None:
        out.zero_()
    nothing = q.new_empty(0, dtype=torch.float32)  # its pointer is null
    log_sum_exp = nothing
    if wants_log_sum_exp:
        log_sum_exp = q.new_full(q.shape[:3], -math.inf, dtype=torch.float32)
    packed, blocks = _room_for_tiles(k, v, runs.keys) if in_tiles else (nothing, 0)
    tensors = (q, k, v, slopes, out, log_sum_exp, packed)
    call = _structure(tensors, runs, blocks, reach, scale, dtype)
    wide = kernels.attend_in_bfloat16 if in_tiles else kernels.attend_in_float32
    (getattr(kernels, _FEW[dtype]) if is_few else wide)(ctypes.byref(call))
    return Attended(out if out.dtype == dtype else out.to(dtype), log_sum_exp, call.looked_at)


class _Runs(NamedTuple):
    """Sequences as the kernel reads them, at `address`, which is `memory`'s.

    `keys` has how many each sequence has.
    """

    most_queries: int
    keys: list[int]
    address: int
    memory: object


def _given(sequences: Tensor) -> _Runs:
    queries, keys = sequences[:, 2].tolist(), sequences[:, 4].tolist()
    return _Runs(max(queries, default=0), keys, sequences.data_ptr(), sequences)


def _whole(batch: int, q_len: int, kv_len: int) -> _Runs:
    """Return each batch entry as one sequence, whose last query stands at its last key."""
    fields = [(row, 0, q_len, 0, kv_len, kv_len - q_len) for row in range(batch)]
    memory = (ctypes.c_int64 * (len(SEQUENCE_FIELDS) * batch))(*chain.from_iterable(fields))
    return _Runs(q_len, [kv_len] * batch, ctypes.addressof(memory), memory)


def _structure(
    tensors: tuple[Tensor, ...],
    runs: _Runs,
    blocks: int,
    reach: Reach,
    scale: float,
    dtype: torch.dtype,
) -> CallStructure:
    """Return what the kernel is called with: the tensors are those that it points at."""
    q, k, v, slopes, out, *_ = tensors
    sizes = (q.shape[1], k.shape[1], q.shape[2], q.shape[3], v.shape[3], len(runs.keys))
    rest = (torch.get_num_threads(), blocks, slopes.stride(0) if slopes.dim() == 2 else 0)
    call = CallStructure.from_buffer_copy(_constants(sizes, rest, reach, scale, dtype))
    call.pointers[:] = [*(tensor.data_ptr() for tensor in tensors), runs.address]
    call.strides[:] = [step for part in (q, k, v, out) for step in part.stride()[:3]]
    return call


@lru_cache(maxsize=128)
def _constants(
    sizes: tuple[int, ...], rest: tuple[int, ...], reach: Reach, scale: float, dtype: torch.dtype
) -> bytes:
    """Return a call's structure without its pointers and strides; to build it takes a while."""
    call = CallStructure()
    share = tolerance(dtype) / (2 if reach.after else 1)  # of a row, for each side to leave out
    least = math.log(share) - _ROUNDED
    values = (*sizes, *rest, *reach, 0, scale, least)
    names = [field[0] for field in CallStructure._fields_][2:]
    for name, value in zip(names, values, strict=True):
        setattr(call, name, value)
    return bytes(call)


def out_like(q: Tensor, value_dim: int) -> Tensor:
    """Return an uninitialised output; in memory [batch, length, heads, value_dim] if q is."""
    batch, heads, length, head_dim = q.shape
    if q.stride()[1:] == (head_dim, heads * head_dim, 1):
        return q.new_empty(batch, length, heads, value_dim).transpose(1, 2)
    return q.new_empty(batch, heads, length, value_dim)


def _room_for_tiles(k: Tensor, v: Tensor, lengths: list[int]) -> tuple[Tensor, int]:
    """Return room for all keys and values as tiles, and how many blocks of keys that is."""
    blocks = k.shape[1] * sum(-(-keys // BLOCK) for keys in lengths)
    width = sum(-(-part.shape[3] // CHUNK) * CHUNK for part in (k, v))
    return k.new_empty(blocks * BLOCK * width), blocks


def _rows(tensor: Tensor) -> Tensor:
    """Return the tensor with contiguous rows, copied only where needed."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
