"""How far back each block of queries must look: a bound certified from the data.

|q_i . k_j| <= |q_i| |k_j| bounds every score from both sides, so norms bound the weight of far keys
from above. The mean of a block of keys bounds the sum of its exponentials from below (Jensen).
Weights are multiplied by how much larger the block's values are than the smallest value near the
queries. Together this shows which far keys hold less than a stated share of every row, weighed by
their values; those keys can be left out. Large norms and far values that are larger widen the
windows, until nothing is left out. What the bound can't foresee are rows whose near values cancel:
there the share is one of the values, and not of their sum.

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

from variants.norms import (
    BLOCK,
    effective,
    largest,
    log2_norms,
    norms_of,
    norms_of_sums,
    rounded_up,
    smallest_near,
    unevenness,
)
from variants.problem import Spec
from variants.slopes_cache import cache_by_slopes

_AT_ONCE = 1 << 22  # pairs of blocks in one tensor: 16 MiB
_NEAR = 64  # blocks before a query's own whose weight and values the lower bound counts
# Powers of 2, because torch wakes its threads for exp(), even for a few numbers.
_LOG2_E = math.log2(math.e)
_GENTLE = 1 / 32  # slopes up to this cost a block's keys less than their norms differ
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
    """Return the share of a row that may be left out, the size of a rounding error."""
    return torch.finfo(dtype).eps / 2


def windows_of(spec: Spec) -> Callable[[Tensor, Tensor, Tensor, Tensor], Windows]:
    """Return a function of q, k, v and slopes that gives the windows of causal attention.

    q is [batch, heads, q_len, head_dim], k and v are [batch, kv_heads, kv_len, head_dim], slopes
    [heads]. Keys outside of `back` hold at most the tolerance of a row's weight, also if each
    weight is multiplied by how much larger its value is than the smallest value near the row. The
    same is true of keys whose bias is below -depth.
    """
    rows, columns = max(1, spec.q_len // BLOCK), -(-spec.kv_len // BLOCK)
    front = spec.q_len % BLOCK if spec.q_len > BLOCK else 0
    groups = spec.heads // spec.kv_heads
    portion = max(1, _AT_ONCE // (spec.batch * rows * columns))
    share = tolerance(spec.dtype)
    product = spec.scale * rounded_up(spec.dtype) ** 2
    before = torch.arange(columns - rows, columns, device=spec.device)
    bounds_for = cache_by_slopes(
        partial(_bias_bounds, before=before, kv_len=spec.kv_len, share=share, product=product)
    )

    @torch.no_grad()
    def windows(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Windows:
        query = largest(norms_of(q[:, :, front:]))  # [batch, heads, rows]
        key_norms, sizes = norms_of(k), log2_norms(v)
        longest = torch.unflatten(query.amax(-1), 1, (-1, groups)).amax(-1) * product
        of_keys = [  # [batch, kv_heads, blocks] each
            *(largest(key_norms), effective(key_norms, longest), norms_of_sums(k)),
            *(largest(sizes), smallest_near(sizes, rows, _NEAR)),
        ]
        if groups > 1:
            of_keys = [numbers.repeat_interleave(groups, dim=1) for numbers in of_keys]
        bounds = bounds_for(slopes)
        droppable = [
            _count_droppable(
                bounds.for_heads(heads), *(numbers[:, heads] for numbers in (query, *of_keys))
            )
            for heads in _portions(portion, spec.heads)
        ]
        depth = torch.addcmul(bounds.depth, query.amax(-1), of_keys[0].amax(-1), value=2 * product)
        depth += unevenness(sizes).repeat_interleave(groups, dim=1)
        return Windows(before - torch.cat(droppable, dim=1), depth.amax(dim=0))

    return windows


def depth_of(spec: Spec) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return a function of q, k, v and slopes that gives the `depth` of `windows_of`: [heads].

    For variants that leave out keys only by their bias.
    """
    product, share = spec.scale * rounded_up(spec.dtype) ** 2, tolerance(spec.dtype)
    unscored = cache_by_slopes(partial(_depth_of_zeros, share=share))

    @torch.no_grad()
    def depth(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        query, key = (norms_of(rows).amax(-1).float() for rows in (q, k))
        key, uneven = (
            numbers.repeat_interleave(spec.heads // spec.kv_heads, dim=1)
            for numbers in (key, unevenness(log2_norms(v)))
        )
        scored = torch.addcmul(unscored(slopes), query, key, value=2 * product)
        return (scored + uneven).amax(dim=0)

    return depth


def density(spec: Spec, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> float:
    """Return the share of all causal pairs of blocks that lie inside the windows.

    A pair on the diagonal counts as a whole pair, because it is computed whole. Queries that belong
    to no block are not counted. A band of several windows computes somewhat more than this share.
    """
    back = windows_of(spec)(q, k, v, slopes).back
    rows, columns = back.shape[2], -(-spec.kv_len // BLOCK)
    causal = spec.batch * spec.heads * rows * (2 * columns - rows + 1) // 2
    return (back + 1).sum().item() / causal


def _portions(size: int, heads: int) -> list[slice]:
    return [slice(head, head + size) for head in range(0, heads, size)]


class _BiasBounds(NamedTuple):
    """Bounds on the log2 of weights from the bias alone, seen from the first query of each block.

    `most` [heads, rows, columns] bounds the sum of each block of keys from above. `least` [heads,
    rows, near] bounds the sums of the blocks just before the query's own from below. `depth`
    [heads] is the depth where all scores are 0. `is_gentle` [heads, 1, 1] says that `most` takes
    each key of a block for the nearest, and so goes with the block's effective norm. `product`
    turns a product of norms into a score, and `share` is the tolerance.
    """

    most: Tensor
    least: Tensor
    depth: Tensor
    is_gentle: Tensor
    product: float
    share: float

    def for_heads(self, heads: slice) -> "_BiasBounds":
        names = ("most", "least", "depth", "is_gentle")
        return self._replace(**{name: getattr(self, name)[heads] for name in names})


def _bias_bounds(
    slopes: Tensor, before: Tensor, kv_len: int, share: float, product: float
) -> _BiasBounds:
    """Return the bounds; `before` [rows] is the number of blocks before each row's own.

    The first query stands for its block: for a later query, all weights outside of the block are
    smaller by one common factor, so their share is smaller.
    """
    slope = slopes[:, None, None]
    whole, rest = divmod(kv_len, BLOCK)
    front = int(rest > 0)
    back = before[:, None] - torch.arange(whole + front, device=slopes.device)
    summed = ((-BLOCK * slope).expm1() / (-slope).expm1()).log()
    is_gentle = slope <= _GENTLE
    summed = torch.where(is_gentle, math.log(BLOCK) + BLOCK * (-slope).clamp(min=0), summed)
    summed += (BLOCK - 1) * slope
    most = (summed - BLOCK * slope * back).masked_fill(back <= 0, math.inf)
    nearest = torch.arange(_NEAR, 0, -1, device=slopes.device)
    least = (math.log(BLOCK) + (BLOCK - 1) / 2 * slope) - BLOCK * slope * nearest
    least = least.masked_fill(nearest > before[:, None] - front, -math.inf)
    depth = _depth_of_zeros(slopes, share)
    return _BiasBounds(_LOG2_E * most, _LOG2_E * least, depth, is_gentle, product, share)


def _depth_of_zeros(slopes: Tensor, share: float) -> Tensor:
    """Return the depth below which a row of zero scores has at most `share` of its weight."""
    return -math.log(share) - (-(-slopes).expm1()).log()


def _count_droppable(
    bounds: _BiasBounds,
    query: Tensor,
    key: Tensor,
    gentle: Tensor,
    mean: Tensor,
    far: Tensor,
    near: Tensor,
) -> Tensor:
    """Return how many of the first blocks of keys each block of queries can leave out.

    `query` and `near` are [batch, heads, rows], the others [batch, heads, columns]: largest norms,
    effective norms, norms of sums, and log2 of the largest and of the smallest near values.
    """
    query, product = query[..., None], _LOG2_E * bounds.product
    padded = pad(mean, (_NEAR + key.shape[2] - mean.shape[2], 0))
    sums = padded.unfold(-1, _NEAR, 1)[:, :, -1 - query.shape[2] : -1]
    least = torch.addcmul(bounds.least, query, sums, value=-product / BLOCK)
    own_score = query * key[..., -query.shape[2] :, None]  # the query's own key is at distance 0
    least = least.clamp_(max=_LOG2_MOST).exp2_().sum(dim=-1, keepdim=True)
    least = least.add_(own_score.mul_(-product).exp2_()).log2_()
    key = torch.where(bounds.is_gentle[..., 0], gentle, key)
    most = torch.addcmul(bounds.most, query, key[..., None, :], value=product)
    most += (far[..., None, :] - near[..., None]).clamp_(min=0)
    most = most.sub_(least).clamp_(min=_LOG2_LEAST).exp2_()
    return (most.cumsum_(dim=-1) <= bounds.share).sum(dim=-1)
