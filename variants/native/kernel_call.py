"""One call of the C++ kernel, and the memory that Python allocates for it."""

import ctypes
import math
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

from variants.native.kernel_arguments import NOTHING, Reach, rows_of, runs_of, structure
from variants.native.kernel_library import BLOCK, FEW_QUERIES, library

_FEW = {
    torch.float32: "attend_few_in_float32",
    torch.bfloat16: "attend_few_in_bfloat16",
    torch.float16: "attend_few_in_float16",
}


class KernelResult(NamedTuple):
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
    norms: Tensor | None = None,
    block_tables: Tensor | None = None,
    wants_log_sum_exp: bool = False,
    spare_room: list[Tensor] | None = None,
) -> KernelResult:
    """Return the attention of q to k and v.

    q is [batch, heads, q_len, head_dim], k [batch, kv_heads, kv_len, head_dim], v the same but for
    its value_dim, slopes [heads] or [batch, heads] float32. `sequences` is [sequences, 6] int64 on
    the CPU, a line of SEQUENCE_FIELDS for each group of queries that see the same keys; rows of
    `out` in no sequence are 0. By default each batch entry is one, with queries at the end of its
    keys. With `norms` of the cache (variants.batches.cache_norms) up to FEW_QUERIES causal queries
    read the keys that they need. With `block_tables` k and v lie in pages of a power of two slots
    (variants.batches.pages), and an entry has up to FEW_QUERIES queries. Blocks of bfloat16 queries
    are computed in bfloat16 where the processor has products of it, and all else in float32. Then
    k and v are packed, in the memory that `spare_room` has from an earlier call, and it has this
    call's afterwards. A packed batch that has sequences of FEW_QUERIES and of more is two calls of
    the kernels.

    Reads whatever the arguments say: variants.native.torch_operator checks them. Raises Unsupported
    where the kernels can't be built.
    """
    if sequences is not None and len(sequences) > 1 and q.shape[0] == 1:
        is_long = sequences[:, 2] > FEW_QUERIES
        if is_long.any() and not is_long.all():
            return _in_two_calls(
                *(q, k, v, slopes, scale, reach, sequences, is_long),
                *(norms, wants_log_sum_exp, spare_room),
            )
    kernels, dtype = library(), q.dtype
    runs = runs_of(sequences, q, k)
    is_few = runs.most_queries <= FEW_QUERIES
    width = 0  # of a key and its value, packed for blocks of bfloat16 queries
    if dtype == torch.bfloat16 and not is_few:
        width = kernels.packed_width(k.shape[3], v.shape[3])
    converts = not (is_few or width or dtype == torch.float32)
    if converts and sequences is not None and k.shape[0] == 1:
        k, v, sequences = _without_others(k, v, sequences)
        runs = runs_of(sequences, q, k)
    q, k, v = (rows_of(part.float() if converts else part) for part in (q, k, v))
    slopes, out = slopes.resolve_neg().contiguous(), out_like(q, v.shape[3])
    if sequences is not None:
        out.zero_()
    packed, blocks, log_sum_exp = NOTHING, 0, NOTHING
    if wants_log_sum_exp:
        log_sum_exp = q.new_full(q.shape[:3], -math.inf, dtype=torch.float32)
    if width:
        blocks = k.shape[1] * sum(-(-keys // BLOCK) for keys in runs.keys)
        packed = _room(spare_room, k, blocks * BLOCK * width)
    tensors = (q, k, v, slopes, out, log_sum_exp, packed)
    norms = NOTHING if norms is None else rows_of(norms)
    tables = NOTHING if block_tables is None else rows_of(block_tables)
    call = structure(tensors, runs, blocks, reach, scale, dtype, norms, tables)
    wide = kernels.attend_in_bfloat16 if width else kernels.attend_in_float32
    (few_queries_kernel(dtype) if is_few else wide)(ctypes.byref(call))
    if width and spare_room is not None:
        spare_room[:] = [packed]
    return KernelResult(out if out.dtype == dtype else out.to(dtype), log_sum_exp, call.looked_at)


def few_queries_kernel(dtype: torch.dtype) -> Callable[..., None]:
    """Return the kernel of up to FEW_QUERIES queries. Raises Unsupported where there is none."""
    return getattr(library(), _FEW[dtype])  # type: ignore[no-any-return]


def _in_two_calls(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    scale: float,
    reach: Reach,
    sequences: Tensor,
    is_long: Tensor,
    norms: Tensor | None,
    wants_log_sum_exp: bool,
    spare_room: list[Tensor] | None,
) -> KernelResult:
    """Return what `attend` does for a packed batch: long sequences in blocks, the others by key.

    A long cache of a short sequence would be copied and converted for the blocks.
    """
    many, few = sequences[is_long], sequences[~is_long].clone()
    wide = attend(
        *(q, k, v, slopes, scale, reach),
        sequences=many,
        wants_log_sum_exp=wants_log_sum_exp,
        spare_room=spare_room,
    )
    rows = _tokens(few[:, 1], few[:, 2])
    if not len(rows):
        return wide
    few[:, 1] = few[:, 2].cumsum(0) - few[:, 2]
    narrow = attend(
        *(q[:, :, rows], k, v, slopes, scale, reach),
        sequences=few,
        norms=norms,
        wants_log_sum_exp=wants_log_sum_exp,
    )
    wide.out[:, :, rows] = narrow.out
    if wants_log_sum_exp:
        wide.log_sum_exp[:, :, rows] = narrow.log_sum_exp
    return wide._replace(looked_at=wide.looked_at + narrow.looked_at)


def _without_others(k: Tensor, v: Tensor, sequences: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the keys and values of a packed batch that are of `sequences`, and where they are now.

    What is converted should not be a cache of some other sequence, or room at the end.
    """
    first, count = sequences[:, 3], sequences[:, 4]
    if count.sum() >= k.shape[2]:
        return k, v, sequences
    keys, sequences = _tokens(first, count), sequences.clone()
    sequences[:, 3] = count.cumsum(0) - count
    return k[:, :, keys], v[:, :, keys], sequences


def _tokens(first: Tensor, count: Tensor) -> Tensor:
    """Return `count` numbers from `first` on, for each pair of the two [sequences] int64."""
    ends = count.cumsum(0)
    shift = torch.repeat_interleave(first - ends + count, count)
    return shift + torch.arange(len(shift), device=shift.device)


def out_like(q: Tensor, value_dim: int) -> Tensor:
    """Return an uninitialised output; in memory [batch, length, heads, value_dim] if q is."""
    batch, heads, length, head_dim = q.shape
    if q.stride()[1:] == (head_dim, heads * head_dim, 1):
        return q.new_empty(batch, length, heads, value_dim).transpose(1, 2)
    return q.new_empty(batch, heads, length, value_dim)


def _room(spare_room: list[Tensor] | None, like: Tensor, elements: int) -> Tensor:
    """Return room for so many elements: the spare one if it is large enough. Two threads get two.

    Fresh memory is slow, because the system clears each page at its first use.
    """
    with suppress(IndexError):
        if spare_room is not None and (room := spare_room.pop()).numel() >= elements:
            return room
    return like.new_empty(elements)
