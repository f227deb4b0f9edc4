"""How far back each block of queries must look: a bound certified from the data.

|q_i . k_j| <= |q_i| |k_j| bounds every score from both sides, so norms bound the weight of far keys
from above. The mean of a block of keys bounds the sum of its exponentials from below (Jensen).
Together they show which far keys hold less than a stated share of every row's weight; those keys
can be left out. The bound assumes nothing about the data: large norms widen the windows until
nothing is left out.

The idea of leaving out keys that decay has made negligible comes from the Forgetting Transformer
(Adaptive Computation Pruning, arXiv 2504.06949).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from variants.problem import Spec
from variants.slopes_cache import cache_by_slopes

BLOCK = 64
_AT_ONCE = 1 << 22  # pairs of blocks in one tensor: 16 MiB
_NEAR = 64  # blocks before a query's own whose weight the lower bound counts
# Powers of 2, because torch wakes its threads for exp(), even for a few numbers.
_LOG2_E = math.log2(math.e)
_LOG2_MOST, _LOG2_LEAST = 100.0, -120.0  # exp2() of these is neither infinite nor subnormal


class Windows(NamedTuple):
    """How many blocks each block of queries looks back, and how low a bias can still matter.

    `back` is [batch, heads, blocks of queries] int64: the number of blocks of keys before the
    block's own. `depth` is [heads] float32: keys with a bias below -depth can be left out. A block
    is 64 queries or 64 keys, counted from the last. The first kv_len % 64 keys form one more block.
    The first q_len % 64 queries belong to no block; if q_len < 64, all of them form one.
    """

    back: Tensor
    depth: Tensor


def tolerance(dtype: torch.dtype) -> float:
    """Return the share of a row's weight that may be left out, the size of a rounding error."""
    return torch.finfo(dtype).eps / 2


def windows_of(spec: Spec) -> Callable[[Tensor, Tensor, Tensor], Windows]:
    """Return a function of q, k and slopes that gives the windows of causal attention.

    q is [batch, heads, q_len, head_dim], k [batch, kv_heads, kv_len, head_dim], slopes [heads].
    Keys outside of `back` hold at most the tolerance of a row's weight, and so do keys whose bias
    is below -depth.
    """
    rows, columns = max(1, spec.q_len // BLOCK), -(-spec.kv_len // BLOCK)
    front = spec.q_len % BLOCK if spec.q_len > BLOCK else 0
    groups = spec.heads // spec.kv_heads
    portion = max(1, _AT_ONCE // (spec.batch * rows * columns))
    share = tolerance(spec.dtype)
    product = spec.scale * _rounded_up(spec.dtype) ** 2
    before = torch.arange(columns - rows, columns, device=spec.device)
    bounds_for = cache_by_slopes(
        partial(_bias_bounds, before=before, kv_len=spec.kv_len, share=share)
    )

    @torch.no_grad()
    def windows(q: Tensor, k: Tensor, slopes: Tensor) -> Windows:
        query = _largest_norms(q[:, :, front:])  # [batch, heads, rows]
        key, mean = _largest_norms(k), _norms_of_sums(k)  # [batch, kv_heads, columns]
        if groups > 1:
            key, mean = (norms.repeat_interleave(groups, dim=1) for norms in (key, mean))
        bounds = bounds_for(slopes)
        droppable = [
            _count_droppable(queries, keys, means, bounds.for_heads(heads), product, share)
            for heads in _portions(portion, spec.heads)
            for queries, keys, means in [[norms[:, heads] for norms in (query, key, mean)]]
        ]
        depth = torch.addcmul(bounds.depth, query.amax(-1), key.amax(-1), value=2 * product)
        return Windows(before - torch.cat(droppable, dim=1), depth.amax(dim=0))

    return windows


def depth_of(spec: Spec) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return a function of q, k and slopes that gives the `depth` of `windows_of`: [heads] float32.

    For variants that leave out keys only by their bias.
    """
    product, share = spec.scale * _rounded_up(spec.dtype) ** 2, tolerance(spec.dtype)
    unscored = cache_by_slopes(partial(_depth_of_zeros, share=share))

    @torch.no_grad()
    def depth(q: Tensor, k: Tensor, slopes: Tensor) -> Tensor:
        query, key = (torch.linalg.vector_norm(rows, dim=-1).amax(-1).float() for rows in (q, k))
        key = key.repeat_interleave(spec.heads // spec.kv_heads, dim=1)
        return torch.addcmul(unscored(slopes), query, key, value=2 * product).amax(dim=0)

    return depth


def density(spec: Spec, q: Tensor, k: Tensor, slopes: Tensor) -> float:
    """Return the share of all causal pairs of blocks that lie inside the windows.

    A pair on the diagonal counts as a whole pair, because it is computed whole. Queries that belong
    to no block are not counted. A band of several windows computes somewhat more than this share.
    """
    back = windows_of(spec)(q, k, slopes).back
    rows, columns = back.shape[2], -(-spec.kv_len // BLOCK)
    causal = spec.batch * spec.heads * rows * (2 * columns - rows + 1) // 2
    return (back + 1).sum().item() / causal


def _portions(size: int, heads: int) -> list[slice]:
    return [slice(head, head + size) for head in range(0, heads, size)]


class _BiasBounds(NamedTuple):
    """Bounds on the log2 of weights from the bias alone, seen from the first query of each block.

    `most` [heads, rows, columns] bounds the sum of each block of keys from above. `least` [heads,
    rows, near] bounds the sums of the blocks just before the query's own from below. `depth`
    [heads] is the depth where all scores are 0.
    """

    most: Tensor
    least: Tensor
    depth: Tensor

    def for_heads(self, heads: slice) -> "_BiasBounds":
        return _BiasBounds(self.most[heads], self.least[heads], self.depth[heads])


def _bias_bounds(slopes: Tensor, before: Tensor, kv_len: int, share: float) -> _BiasBounds:
    """Return the bounds; `before` [rows] is the number of blocks before each row's own.

    The first query stands for its block: for a later query, all weights outside of the block are
    smaller by one common factor, so their share is smaller.
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
    return _BiasBounds(_LOG2_E * most, _LOG2_E * least, _depth_of_zeros(slopes, share))


def _depth_of_zeros(slopes: Tensor, share: float) -> Tensor:
    """Return the depth below which a row of zero scores has at most `share` of its weight."""
    return -math.log(share) - (-(-slopes).expm1()).log()


def _count_droppable(
    query: Tensor, key: Tensor, mean: Tensor, bounds: _BiasBounds, product: float, share: float
) -> Tensor:
    """Return how many of the first blocks of keys each block of queries can leave out."""
    query = query[..., None]  # [batch, heads, rows, 1]
    padded = pad(mean, (_NEAR + key.shape[2] - mean.shape[2], 0))
    near = padded.unfold(-1, _NEAR, 1)[:, :, -1 - query.shape[2] : -1]
    least = torch.addcmul(bounds.least, query, near, value=-_LOG2_E * product / BLOCK)
    own_score = query * key[..., -query.shape[2] :, None]  # the query's own key is at distance 0
    least = least.clamp_(max=_LOG2_MOST).exp2_().sum(dim=-1, keepdim=True)
    least = least.add_(own_score.mul_(-_LOG2_E * product).exp2_()).log2_()
    most = torch.addcmul(bounds.most, query, key[..., None, :], value=_LOG2_E * product)
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
    """Return the norm of the sum of each whole block: [batch, kv_heads, blocks] float32."""
    blocks = torch.unflatten(k[:, :, k.shape[2] % BLOCK :], 2, (-1, BLOCK))
    sums: Tensor = torch.linalg.vector_norm(blocks.sum(dim=3), dim=-1)
    return sums.float()


def _rounded_up(dtype: torch.dtype) -> float:
    return 1 + max(
        torch.finfo(dtype).eps, 1e-5
    )  # 1e-5: rounding of sums of BLOCK or head_dim float32 terms
