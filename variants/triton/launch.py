"""One launch of the forward, and the memory that Python allocates for it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from variants.norms import BLOCK
from variants.triton.kernel.bounds import block_norms_kernel
from variants.triton.kernel.forward import forward_kernel
from variants.triton.tiles import Tiles, forward_tiles, padded
from variants.windows import tolerance

_ROUNDED = 0.05  # log2: the error of exponents up to 2^15 and of sums of weights
INTERPRETED = 90  # the chip that the interpreter plays
# float32 products are made of three products of tensor cores, which keep nearly all digits.
_PRECISION = {torch.float32: "tf32x3"}


class Launched(NamedTuple):
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
    tiles: Tiles | None = None,
) -> Launched:
    """Return the attention of q to k and v.

    q is [batch, heads, q_len, head_dim], k and v [batch, kv_heads, kv_len, head_dim], slopes
    [heads] or [batch, heads] float32. Queries are the last of the keys.
    """
    q, k, v = (with_whole_rows(part) for part in (q, k, v))
    slopes = slopes.contiguous()
    batch, heads, q_len, head_dim = q.shape
    tiles = tiles or forward_tiles(capability(q.device), head_dim, q.dtype)
    norms = block_norms(k, v)
    slots = batch * -(-q_len // tiles.rows)
    out = torch.empty_like(q)
    log_sum_exp = q.new_empty(batch, heads, q_len, dtype=torch.float32)
    visited = torch.zeros(heads, slots, 2, dtype=torch.int32, device=q.device)
    nothing = visited
    forward_kernel[(heads * slots,)](
        *(q, k, v, out, log_sum_exp, slopes, order_of_heads(slopes), norms),
        *(nothing, nothing, visited),
        *(stride for part in (q, k, v, out) for stride in part.stride()[:3]),
        slopes.stride(0) if slopes.dim() == 2 else 0,
        scale,
        log2_share(q.dtype, causal=causal),
        *(batch, heads, k.shape[1], q_len, k.shape[2], norms.shape[3], slots),
        HEAD_DIM=head_dim,
        DIM=padded(head_dim),
        ROWS=tiles.rows,
        KEYS=tiles.keys,
        STAGES=tiles.stages,
        CAUSAL=causal,
        RAGGED=False,
        PRECISION=_PRECISION.get(q.dtype, "tf32"),
        num_warps=tiles.warps,
    )
    return Launched(out, log_sum_exp, visited)


def log2_share(dtype: torch.dtype, *, causal: bool) -> float:
    """Return log2 of the share of a row that may be left out on one side."""
    return math.log2(tolerance(dtype) / (1 if causal else 2)) - _ROUNDED


def block_norms(k: Tensor, v: Tensor) -> Tensor:
    """Return the largest norms of each block of keys and values: [batch, kv_heads, 2, blocks]."""
    batch, kv_heads, kv_len, head_dim = k.shape
    blocks = -(-kv_len // BLOCK)
    norms = k.new_empty(batch, kv_heads, 2, blocks, dtype=torch.float32)
    block_norms_kernel[(blocks, batch * kv_heads)](
        *(k, v, norms, *k.stride()[:3], *v.stride()[:3], kv_heads, kv_len, blocks),
        HEAD_DIM=head_dim,
        DIM=padded(head_dim),
    )
    return norms


def order_of_heads(slopes: Tensor) -> Tensor:
    """Return the heads, [heads] int32, the gentlest first: its programs take longest."""
    of_first = slopes if slopes.dim() == 1 else slopes[0]
    return of_first.argsort().int()


def capability(device: torch.device) -> int:
    """Return the compute capability of a device, such as 90; the interpreter plays one."""
    if device.type != "cuda":
        return INTERPRETED
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def with_whole_rows(tensor: Tensor) -> Tensor:
    """Return the tensor with contiguous rows, copied only where needed."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
