"""One launch of the forward, and the memory that Python allocates for it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from variants.norms import BLOCK
from variants.triton.chip import capability, descriptor, has_tma, has_wide_rows, tma_can_load
from variants.triton.kernel.bounds import block_norms_kernel
from variants.triton.kernel.forward import forward_kernel
from variants.triton.sequences import Programs, dense_programs, ragged_programs
from variants.triton.tiles import Tiles, has_fixed_maximum, padded_width
from variants.triton.tuning.table_file import table_for
from variants.windows import tolerance

_EXPONENT_ERROR = 0.05  # log2: the error of exponents up to 2^15 and of sums of weights
_LOG2_LIMIT, _LOG2_LIMIT_OF_FLOAT16 = 60.0, 15.0  # of 2^24 weights that float32 adds up; of one


class LaunchResult(NamedTuple):
    """What a launch computed.

    `out` is [batch, heads, q_len, head_dim]; `log_sum_exp` is [batch, heads, q_len] float32,
    natural. `visited` is [heads, programs, 2] int32: the tiles that each program visited before the
    tiles of its own positions, and after them.
    """

    out: Tensor
    log_sum_exp: Tensor
    visited: Tensor


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    scale: float,
    *,
    causal: bool,
    runs: Tensor | None = None,
    norms: Tensor | None = None,
    tiles: Tiles | None = None,
    tma: bool = True,
) -> LaunchResult:
    """Return the attention of q to k and v.

    q is [batch, heads, q_len, head_dim], k and v [batch, kv_heads, kv_len, head_dim], slopes
    [heads] or [batch, heads] float32. `runs` are int32 [runs, 6] on the device, lines of
    variants.batches.runs.FIELDS; rows of no run are 0. Without them queries are the last of the
    keys. `norms` are of variants.batches.cache_norms. Tiles are loaded by TMA where it can, unless
    `tma` is False.
    """
    q, k, v = (with_whole_rows(part) for part in (q, k, v))
    slopes = slopes.contiguous()
    tiles = tiles or table_for(q.device, q.shape[3], q.dtype).forward
    norms = block_norms(k, v) if norms is None else norms.contiguous()
    programs = programs_of(runs, q, tiles.rows, of_keys=False)
    out, log_sum_exp = room_for_answer(q, runs)
    heads = q.shape[1]
    visited = torch.zeros(heads, programs.slots, 2, dtype=torch.int32, device=q.device)
    by_tma = tma and loads_by_tma(k, v, runs)
    width = padded_width(q.shape[3])
    keys, values = (descriptor(part, tiles.keys, width) if by_tma else part for part in (k, v))
    forward_kernel[(heads * programs.slots,)](
        *(q, keys, values, out, log_sum_exp, slopes, order_of_heads(slopes), norms),
        *(programs.runs, programs.work, visited),
        *strides_of(q, k, v, out),
        *(stride_of_slopes(slopes), scale, log2_share(q.dtype, causal=causal)),
        log2_limit(q.dtype),
        *(q.shape[0], heads, k.shape[1], q.shape[2], k.shape[2], norms.shape[3], programs.slots),
        CAUSAL=causal,
        RAGGED=runs is not None,
        TMA=by_tma,
        FIXED=has_fixed_maximum(capability(q.device), q.dtype),
        **constants(q, tiles),
    )
    return LaunchResult(out, log_sum_exp, visited)


def loads_by_tma(k: Tensor, v: Tensor, runs: Tensor | None) -> bool:
    """Return whether TMA loads the tiles of a call: of a dense batch alone.

    A sequence of a ragged one ends inside of the tensor, where no descriptor knows of an end.
    """
    can_load = has_tma(k.device) and tma_can_load(k) and tma_can_load(v)
    return runs is None and has_wide_rows(k) and can_load


def room_for_answer(q: Tensor, runs: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return memory for an output and its log-sum-exp, with what rows of no run have in it."""
    out, log_sum_exp = torch.empty_like(q), q.new_empty(q.shape[:3], dtype=torch.float32)
    if runs is not None:
        out.zero_()
        log_sum_exp.fill_(-math.inf)
    return out, log_sum_exp


def programs_of(runs: Tensor | None, tokens: Tensor, size: int, *, of_keys: bool) -> Programs:
    """Return the programs that share the work, a block of `size` of the tokens each.

    `tokens` are [batch, heads, length, head_dim]: queries, or keys.
    """
    if runs is None:
        return dense_programs(tokens, size)
    return ragged_programs(runs, tokens, size, of_keys=of_keys)


def constants(q: Tensor, tiles: Tiles) -> dict[str, int | str]:
    """Return what a kernel is compiled for, of q's head_dim and dtype, and of its tiles."""
    return {
        "HEAD_DIM": q.shape[3],
        "DIM": padded_width(q.shape[3]),
        "ROWS": tiles.rows,
        "KEYS": tiles.keys,
        "STAGES": tiles.stages,
        # Three products of tensor cores keep nearly all digits of float32.
        "PRECISION": "tf32x3" if q.dtype == torch.float32 else "tf32",
        "num_warps": tiles.warps,
    }


def strides_of(*tensors: Tensor) -> list[int]:
    """Return the strides of each tensor's batch, head and row."""
    return [stride for tensor in tensors for stride in tensor.stride()[:3]]


def stride_of_slopes(slopes: Tensor) -> int:
    """Return the stride of slopes' batch, 0 where all entries have the same."""
    return slopes.stride(0) if slopes.dim() == 2 else 0


def log2_share(dtype: torch.dtype, *, causal: bool, factor: float = 1.0) -> float:
    """Return log2 of a row's share that may be left out on one side, `factor` of the tolerance."""
    return math.log2(factor * tolerance(dtype) / (1 if causal else 2)) - _EXPONENT_ERROR


def log2_limit(dtype: torch.dtype) -> float:
    """Return log2 of how far over a row's largest weight so far others are no danger to its sums.

    A weight has the values' dtype where it is multiplied, and float16 ends at 65504.
    """
    return _LOG2_LIMIT_OF_FLOAT16 if dtype == torch.float16 else _LOG2_LIMIT


def block_norms(k: Tensor, v: Tensor) -> Tensor:
    """Return the largest norms of each block of keys and values: [batch, kv_heads, 2, blocks]."""
    batch, kv_heads, kv_len, head_dim = k.shape
    blocks = -(-kv_len // BLOCK)
    norms = k.new_empty(batch, kv_heads, 2, blocks, dtype=torch.float32)
    block_norms_kernel[(blocks, batch * kv_heads)](
        *(k, v, norms, *strides_of(k, v), kv_heads, kv_len, blocks),
        HEAD_DIM=head_dim,
        DIM=padded_width(head_dim),
    )
    return norms


def order_of_heads(slopes: Tensor) -> Tensor:
    """Return the heads, [heads] int32, the gentlest first: its programs take longest."""
    of_first = slopes if slopes.dim() == 1 else slopes[0]
    return of_first.argsort().int()


def with_whole_rows(tensor: Tensor) -> Tensor:
    """Return the tensor with contiguous rows, copied only where needed."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
