"""How far back each block of queries must look, certified from the data.

For a query i and a key j, |q_i . k_j| <= |q_i| |k_j| bounds a score from both sides, and the mean
of a block of keys bounds the sum of its exponentials from below (Jensen). From norms alone follows
that far keys hold less than a stated share of every row's weight and can be left out. Nothing is
assumed of the data: large norms widen the windows until nothing is left out.

The idea of leaving out what decay has made negligible is the Forgetting Transformer's (Adaptive
Computation Pruning, arXiv 2504.06949).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from variants.problem import Spec
from variants.slopes_cache import built_once

BLOCK = 64
_AT_ONCE = 1 << 22  # pairs of blocks, 16 MiB a tensor
_NEAR = 64  # blocks before a query's own that its weight is bounded from below by
# Weights are taken as powers of 2: for exp() torch wakes its threads, however short it is.
_LOG2_E = math.log2(math.e)
_LOG2_MOST, _LOG2_LEAST = 100.0, -120.0  # whose exp2() is no infinity, and no subnormal number


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
    share = tolerance(spec.dtype)
    product = spec.scale * _rounded_up(spec.dtype) ** 2
    before = torch.arange(columns - rows, columns, device=spec.device)
    falls_of = built_once(partial(_falls, before=before, kv_len=spec.kv_len, share=share))

    @torch.no_grad()
    def windows(q: Tensor, k: Tensor, slopes: Tensor) -> Windows:
        query = _largest_norms(q[:, :, front:])  # [batch, heads, rows]
        key, mean = _largest_norms(k), _norms_of_sums(k)  # [batch, kv_heads, columns]
        if groups > 1:
            key, mean = (norms.repeat_interleave(groups, dim=1) for norms in (key, mean))
        falls = falls_of(slopes)
        needless = [
            _needless(queries, keys, means, falls.for_heads(heads), product, share)
            for heads in _portions(portion, spec.heads)
            for queries, keys, means in [[norms[:, heads] for norms in (query, key, mean)]]
        ]
        depth = torch.addcmul(falls.depth, query.amax(-1), key.amax(-1), value=2 * product)
        return Windows(before - torch.cat(needless, dim=1), depth.amax(dim=0))

    return windows


def depth_of(spec: Spec) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return a function of q, k and slopes to the depth that `windows_of` would find: [heads].

    It is all that a variant needs that leaves out nothing but by its bias.
    """
    product, share = spec.scale * _rounded_up(spec.dtype) ** 2, tolerance(spec.dtype)
    unscored = built_once(partial(_depth_of_zeros, share=share))

    @torch.no_grad()
    def depth(q: Tensor, k: Tensor, slopes: Tensor) -> Tensor:
        query, key = (torch.linalg.vector_norm(one, dim=-1).amax(-1).float() for one in (q, k))
        key = key.repeat_interleave(spec.heads // spec.kv_heads, dim=1)
        return torch.addcmul(unscored(slopes), query, key, value=2 * product).amax(dim=0)

    return depth


def density(spec: Spec, q: Tensor, k: Tensor, slopes: Tensor) -> float:
    """Return the share of all causal pairs of blocks that lie inside the windows.

    A pair on the diagonal counts whole, as it is computed. Queries in front are in no block and
    left out; bands of several windows compute somewhat more.
    """
    back = windows_of(spec)(q, k, slopes).back
    rows, columns = back.shape[2], -(-spec.kv_len // BLOCK)
    causal = spec.batch * spec.heads * rows * (2 * columns - rows + 1) // 2
    return (back + 1).sum().item() / causal


def _portions(size: int, heads: int) -> list[slice]:
    return [slice(head, head + size) for head in range(0, heads, size)]


class _Falls(NamedTuple):
    """What the bias alone makes of weights, as log2, seen from the first query of a block.

    `most` [heads, rows, columns] of a block of keys summed up, at most; `least` [heads, rows, near]
    of the blocks just before the query's own, at least. `depth` [heads] is that of scores of 0.
    """

    most: Tensor
    least: Tensor
    depth: Tensor

    def for_heads(self, heads: slice) -> "_Falls":
        return _Falls(self.most[heads], self.least[heads], self.depth[heads])


def _falls(slopes: Tensor, before: Tensor, kv_len: int, share: float) -> _Falls:
    """Return what the bias makes of blocks, `before` [rows] being the blocks before each row's own.

    For a later query of a block all weights outside of its own block are smaller by the same
    factor, so their share falls.
    """
    slope = slopes[:, None, None]
    whole, rest = divmod(kv_len, BLOCK)
    front = int(rest > 0)
    back = before[:, None] - torch.arange(whole + front, device=slopes.device)
    summed = ((-BLOCK * slope).expm1() / (-slope).expm1()).log() + (BLOCK - 1) * slope
    most = (summed - BLOCK * slope * back).masked_fill(back <= 0, math.inf)
    nearest = torch.arange(_NEAR, 0, -1, device=slopes.device)
    least = (math.log(BLOCK) + (BLOCK - 1) / 2 * slope) - BLOCK * slope * nearest
    least = least.masked_fill(nearest > before[:, None] - front, -math.inf)
    return _Falls(_LOG2_E * most, _LOG2_E * least, _depth_of_zeros(slopes, share))


def _depth_of_zeros(slopes: Tensor, share: float) -> Tensor:
    """Return the depth below which a row of zeros has no more than `share` of its weight."""
    return -math.log(share) - (-(-slopes).expm1()).log()


def _needless(
    query: Tensor, key: Tensor, mean: Tensor, falls: _Falls, product: float, share: float
) -> Tensor:
    """Return how many of the first blocks of keys each block of queries can do without."""
    query = query[..., None]  # [batch, heads, rows, 1]
    filled = pad(mean, (_NEAR + key.shape[2] - mean.shape[2], 0))
    near = filled.unfold(-1, _NEAR, 1)[:, :, -1 - query.shape[2] : -1]
    least = torch.addcmul(falls.least, query, near, value=-_LOG2_E * product / BLOCK)
    own = query * key[..., -query.shape[2] :, None]  # the query's own key has no bias
    least = least.clamp_(max=_LOG2_MOST).exp2_().sum(dim=-1, keepdim=True)
    least = least.add_(own.mul_(-_LOG2_E * product).exp2_()).log2_()
    most = torch.addcmul(falls.most, query, key[..., None, :], value=_LOG2_E * product)
    most = most.sub_(least).clamp_(min=_LOG2_LEAST).exp2_()
    return (most.cumsum_(dim=-1) <= share).sum(dim=-1)


def _largest_norms(vectors: Tensor) -> Tensor:
    """Return the largest norm in each block: [batch, heads, blocks] float32."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    front = -norms.shape[2] % BLOCK
    if front:
        norms = pad(norms, (front, 0))
    return torch.unflatten(norms, -1, (-1, BLOCK)).amax(dim=-1).float()


def _norms_of_sums(k: Tensor) -> Tensor:
    """Return the norm of each whole block's sum: [batch, kv_heads, blocks] float32."""
    blocks = torch.unflatten(k[:, :, k.shape[2] % BLOCK :], 2, (-1, BLOCK))
    sums: Tensor = torch.linalg.vector_norm(blocks.sum(dim=3), dim=-1)
    return sums.float()


def _rounded_up(dtype: torch.dtype) -> float:
    return 1 + max(torch.finfo(dtype).eps, 1e-5)  # 1e-5: sums of BLOCK or head_dim float32 terms
