"""What the C++ kernels are called with: reach, sequences, and the structure of a call."""

import ctypes
import math
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import NamedTuple

import torch
from torch import Tensor

from variants.native.kernel_library import SEQUENCE_FIELDS, CallStructure
from variants.problem import Spec
from variants.windows import tolerance

MOST_KEYS = 1 << 24  # positions are float32, exact up to here
EVERY_KEY = 1 << 40  # further away than any key
_EXPONENT_ERROR = 0.02  # the error of exponents up to 2^15 and of sums over MOST_KEYS
_POINTERS_AND_STRIDES = Struct("=10Q15q")
NOTHING = torch.empty(0, 0, 0)  # in place of a tensor that a call has not: its pointer is null


class Reach(NamedTuple):
    """How far from its query a key may be: so many positions before it, and after it."""

    before: int
    after: int


CAUSAL, BIDIRECTIONAL = Reach(EVERY_KEY, 0), Reach(EVERY_KEY, EVERY_KEY)


def reach_of(spec: Spec) -> Reach:
    """Return the reach of a spec's queries, from its window and mask."""
    before, after = (EVERY_KEY if steps < 0 else steps for steps in spec.extras.window)
    return Reach(before, 0 if spec.causal else after)


class Runs(NamedTuple):
    """Sequences as the kernels read them, at `address`, which is `memory`'s.

    `keys` has how many each sequence has.
    """

    most_queries: int
    keys: list[int]
    address: int
    memory: object


def runs_of(sequences: Tensor | None, q: Tensor, k: Tensor) -> Runs:
    """Return the given sequences, int64 [sequences, 6] on the CPU, or each batch entry as one.

    The last query of a batch entry stands at its last key.
    """
    if sequences is not None:
        sequences = sequences.contiguous()
        queries, keys = sequences[:, 2].tolist(), sequences[:, 4].tolist()
        return Runs(max(queries, default=0), keys, sequences.data_ptr(), sequences)
    return dense_runs(q.shape[0], q.shape[2], k.shape[2])


@lru_cache(maxsize=128)
def dense_runs(batch: int, q_len: int, kv_len: int) -> Runs:
    """Return each of `batch` entries as a sequence, whose last query stands at its last key."""
    fields = [(row, 0, q_len, 0, kv_len, kv_len - q_len) for row in range(batch)]
    memory = (ctypes.c_int64 * (len(SEQUENCE_FIELDS) * batch))(*chain.from_iterable(fields))
    return Runs(q_len, [kv_len] * batch, ctypes.addressof(memory), memory)


def structure(
    tensors: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
    runs: Runs,
    blocks: int,
    reach: Reach,
    scale: float,
    dtype: torch.dtype,
    norms: Tensor = NOTHING,
    block_tables: Tensor = NOTHING,
) -> CallStructure:
    """Return what a kernel is called with: the tensors are those that it points at.

    They are q, k, v, slopes, out, the log-sum-exp, and room for `blocks` packed blocks of keys.
    `norms` are of variants.batches.cache_norms and `block_tables` of variants.batches.pages; only
    few queries read them.
    What is left out is a share of the rounding of `dtype`.
    """
    q, k, v, slopes, out, *_ = tensors
    _, heads, q_len, head_dim = q.shape
    sizes = (heads, k.shape[1], q_len, head_dim, v.shape[3], len(runs.keys))
    rest = (torch.get_num_threads(), blocks, slopes.stride(0) if slopes.dim() == 2 else 0)
    pointers = (*map(Tensor.data_ptr, tensors), runs.address, norms.data_ptr())
    strides = (*q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *out.stride()[:3])
    begin = _POINTERS_AND_STRIDES.pack(
        *pointers, block_tables.data_ptr(), *strides, *norms.stride()[:3]
    )
    call = CallStructure.from_buffer_copy(begin + _constants(sizes, rest, reach, scale, dtype))
    if block_tables is not NOTHING:
        call.pages_stride, call.page_bits = block_tables.stride(0), k.shape[2].bit_length() - 1
    return call


@lru_cache(maxsize=128)
def _constants(
    sizes: tuple[int, ...], rest: tuple[int, ...], reach: Reach, scale: float, dtype: torch.dtype
) -> bytes:
    """Return what follows the pointers and strides in a call's structure; that takes a while."""
    call = CallStructure()
    share = tolerance(dtype) / (2 if reach.after else 1)  # of a row, for each side to leave out
    least = math.log(share) - _EXPONENT_ERROR
    steps = (min(step, EVERY_KEY) for step in reach)  # positions are added to it
    values = (*sizes, *rest, 0, 0, *steps, 0, scale, least)
    names = [field[0] for field in CallStructure._fields_][2:]
    for name, value in zip(names, values, strict=True):
        setattr(call, name, value)
    return bytes(call)[_POINTERS_AND_STRIDES.size :]


def rows_of(tensor: Tensor) -> Tensor:
    """Return the tensor with contiguous rows and its signs in memory, copied only where needed."""
    tensor = tensor.resolve_neg()
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
