"""How far back each block of queries must look, certified from the data.

For a query i and a key j, |q_i . k_j| <= |q_i| |k_j| bounds a score from both sides, and the mean
of a block of keys bounds the sum of its exponentials from below (Jensen). From norms alone follows
that far keys hold less than a stated share of every row's weight and can be left out. Nothing is
assumed of the data: large norms widen the windows until nothing is left out.

The idea of leaving out what decay has made negligible is the Forgetting Transformer's (Adaptive
Computation Pruning, arXiv 2504.06949).
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from variants.problem import Spec
from variants.slopes_cache import built_once

BLOCK = 64
_AT_ONCE = 1 << 22  # pairs of blocks, 16 MiB a tensor


class Windows(NamedTuple):
    """What must be looked at: blocks before each block's own, and no bias below -`depth`.

    `back` is [batch, heads, blocks of queries] int64, `depth` [heads] float32. Blocks of queries
    and of keys end with the last one. Keys in front that fill no block count as one block more;
    queries in front are in no block, but fewer than BLOCK queries are one.
    """

    back: Tensor
    depth: Tensor


def tolerance(dtype: torch.dtype) -> float:
    """Return the share of a row's weight that may be left out: what rounding its output costs."""
    return torch.finfo(dtype).eps / 2


def windows_of(spec: Spec) -> Callable[[Tensor, Tensor, Tensor], Windows]:
    """Return a function of q, k and slopes that bounds what causal attention needs to look at.

    q is [batch, heads, q_len, head_dim], k [batch, kv_heads, kv_len, head_dim], slopes [heads].
    What lies outside of `back` holds at most the tolerance of a row's weight, and so does what
    `depth` leaves out.
    """
    rows, columns = max(1, spec.q_len // BLOCK), -(-spec.kv_len // BLOCK)
    front = spec.q_len % BLOCK if spec.q_len > BLOCK else 0
    groups = spec.heads // spec.kv_heads
    portion = max(1, _AT_ONCE // (spec.batch * rows * columns))
    log_share = math.log(tolerance(spec.dtype))
    before = torch.arange(columns - rows, columns, device=spec.device)
    back = before[:, None] - torch.arange(columns, device=spec.device)  # [rows, columns]

    @built_once
    def falls(slopes: Tensor) -> Tensor:
        return _falls(slopes, back)

    @torch.no_grad()
    def windows(q: Tensor, k: Tensor, slopes: Tensor) -> Windows:
        query = _largest_norms(q[:, :, front:]) * spec.scale  # [batch, heads, rows]
        key, mean = _largest_norms(k), _norms_of_means(k)  # [batch, kv_heads, columns]
        if groups > 1:
            key, mean = (norms.repeat_interleave(groups, dim=1) for norms in (key, mean))
        needless = [
            _needless(queries, keys, means, falls(own), tolerance(spec.dtype))
            for queries, keys, means, own in _portions(portion, query, key, mean, slopes)
        ]
        span = (query.amax(dim=-1) * key.amax(dim=-1)).amax(dim=0)  # [heads], a score at most
        return Windows(
            before - torch.cat(needless, dim=1),
            2 * span - log_share - (-(-slopes).expm1()).log(),
        )

    return windows


def density(spec: Spec, q: Tensor, k: Tensor, slopes: Tensor) -> float:
    """Return the share of all causal pairs of blocks that lie inside the windows.

    A pair on the diagonal counts whole, as it is computed. Queries in front are in no block and
    left out; bands of several windows compute somewhat more.
    """
    back = windows_of(spec)(q, k, slopes).back
    rows, columns = back.shape[2], -(-spec.kv_len // BLOCK)
    causal = spec.batch * spec.heads * rows * (2 * columns - rows + 1) // 2
    return (back + 1).sum().item() / causal


def _portions(
    size: int, query: Tensor, key: Tensor, mean: Tensor, slopes: Tensor
) -> Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]:
    if size >= len(slopes):
        return [(query, key, mean, slopes)]  # the same slopes, for which falls are kept
    parts = (torch.split(norms, size, dim=1) for norms in (query, key, mean))
    return zip(*parts, torch.split(slopes, size), strict=True)


def _falls(slopes: Tensor, back: Tensor) -> Tensor:
    """Return what the bias alone makes of a block's summed weight, at most and at least, as logs.

    [2, heads, rows, columns] float32, seen from the first of a block's BLOCK queries. For a later
    one all weights outside of its own block are smaller by the same factor, so their share falls.
    """
    slope = slopes[:, None, None]
    fall = -BLOCK * slope * back  # at the block's first key
    most = fall + (((-BLOCK * slope).expm1() / (-slope).expm1()).log() + (BLOCK - 1) * slope)
    least = fall + (math.log(BLOCK) + (BLOCK - 1) / 2 * slope)
    later = back <= 0
    return torch.stack([most.masked_fill(later, math.inf), least.masked_fill(later, -math.inf)])


def _needless(query: Tensor, key: Tensor, mean: Tensor, falls: Tensor, share: float) -> Tensor:
    """Return how many of the first blocks of keys each block of queries can do without."""
    query = query[..., None]  # [batch, heads, rows, 1]
    most = torch.addcmul(falls[0], query, key[..., None, :])
    least = torch.addcmul(falls[1, ..., -mean.shape[2] :], query, mean[..., None, :], value=-1)
    least = least.logsumexp(dim=-1, keepdim=True)
    least = least.logaddexp(-query * key[..., -query.shape[2] :, None])  # with the query's own key
    return (most.sub_(least).exp_().cumsum_(dim=-1) <= share).sum(dim=-1)


def _largest_norms(vectors: Tensor) -> Tensor:
    """Return the largest norm in each block, rounded up: [batch, heads, blocks] float32."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    front = -norms.shape[2] % BLOCK
    if front:
        norms = pad(norms, (front, 0))
    return torch.unflatten(norms, -1, (-1, BLOCK)).amax(dim=-1).float() * _rounded_up(vectors.dtype)


def _norms_of_means(k: Tensor) -> Tensor:
    """Return the norm of each whole block's mean, rounded up: [batch, kv_heads, blocks] float32."""
    blocks = torch.unflatten(k[:, :, k.shape[2] % BLOCK :], 2, (-1, BLOCK))
    sums: Tensor = torch.linalg.vector_norm(blocks.sum(dim=3), dim=-1)
    return sums.float() * (_rounded_up(k.dtype) / BLOCK)


def _rounded_up(dtype: torch.dtype) -> float:
    return 1 + max(torch.finfo(dtype).eps, 1e-5)  # 1e-5: sums of BLOCK or head_dim float32 terms
