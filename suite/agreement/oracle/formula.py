"""The formula of ALiBi attention and of its gradients, as the judge computes it.

In float64 it is the truth. In float32, with the results of its steps rounded to the case's dtype,
it is the yardstick: the error that this dtype can't avoid. Scores, bias and softmax are never
rounded to half precision, because that would excuse any error where scores are large. The judge
has its own formula, so that it never depends on the variants that it judges.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

ROTARY_BASE = 10000.0
FLOAT32_EPS = torch.finfo(torch.float32).eps


class Noise(NamedTuple):
    """Random rounding: a sum is off by up to two float32 eps of what it is made of.

    Right kernels add the terms of a score in any order, so how far one order is off is luck. In a
    case of few rows it can be nothing. With noise the yardstick is as far off as any order may be.
    """

    generator: torch.Generator

    def add(self, sums: Tensor, size: Tensor, most: float = 2 * FLOAT32_EPS) -> None:
        """Move each of `sums` by up to `most` of `size`, which broadcasts to their shape."""
        moves = torch.empty_like(sums).uniform_(-most, most, generator=self.generator)
        sums.addcmul_(moves, size)


class Scoring(NamedTuple):
    """How scores are made: the scale of q·k, the mask, where the rows stand, and the rounding.

    `positions` [rows] is the position of each query row among the keys. Weights and results are
    rounded to `rounding`; the dtype that the formula computes in rounds nothing. `noise` moves
    scores, and what gradients subtract. `window` is how many positions before and after its own a
    row sees; -1 is no limit. `in_buckets` gives all distances of one of T5's buckets the bias of
    the least of them.
    """

    scale: float
    causal: bool
    positions: Tensor
    rounding: torch.dtype
    noise: Noise | None = None
    window: tuple[int, int] = (-1, -1)
    in_buckets: bool = False


def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, scoring: Scoring) -> Tensor:
    """Return softmax(scale * q k^T + bias) v: [batch, heads, rows, head_dim], in q's dtype.

    q is [batch, heads, rows, head_dim]; k and v are [batch, kv_heads, kv_len, head_dim]; all are
    float32 or float64. slopes are [heads].
    """
    k, v = _for_each_head(q, k), _for_each_head(q, v)
    weights = torch.softmax(_scores(q, k, slopes, scoring), dim=-1)
    rounding = scoring.rounding
    return round_to(round_to(weights, rounding) @ v, rounding)


def gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    dout: Tensor,
    scoring: Scoring,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return out, dq, dk and dv, in q's dtype.

    Arguments are those of `attend`, and dout [batch, heads, rows, head_dim]. The gradient of the
    softmax is weights * (dweights - rowsum(dout * out)) with the rounded out, as in every flash
    kernel (FlashAttention, arXiv 2205.14135, appendix B.4). Like scores, dweights are not rounded.
    """
    kv_heads = k.shape[1]
    k, v = _for_each_head(q, k), _for_each_head(q, v)
    scores = _scores(q, k, slopes, scoring)
    weights = torch.softmax(scores, dim=-1)  # [batch, heads, rows, kv_len]
    rounding = scoring.rounding
    out = round_to(round_to(weights, rounding) @ v, rounding)
    dweights = dout @ v.mT
    drow = (out * dout).sum(dim=-1, keepdim=True)
    if scoring.noise is not None:
        # Flash kernels compute the weights again from the logsumexp, which was rounded to float32.
        rescaling = torch.ones_like(drow)
        scoring.noise.add(rescaling, scores.amax(dim=-1, keepdim=True).abs())
        weights *= rescaling
        scoring.noise.add(dweights, _product_size(dout, v))
        # out was rounded to the case's dtype before it is multiplied here.
        out_error = max(2 * FLOAT32_EPS, torch.finfo(rounding).eps)
        scoring.noise.add(drow, (out * dout).norm(dim=-1, keepdim=True), out_error)
    narrow = round_to(weights, rounding)
    dscores = round_to(weights * (dweights - drow) * scoring.scale, rounding)
    dq = round_to(dscores @ k, rounding)
    dk = round_to(dscores.mT @ q, rounding)
    dv = round_to(narrow.mT @ dout, rounding)
    return out, dq, _sum_groups(dk, kv_heads), _sum_groups(dv, kv_heads)


def rotate(rows: Tensor, positions: Tensor) -> Tensor:
    """Return rows [batch, heads, rows, head_dim] turned by positions [rows], in the rows' dtype.

    Channels c and c + head_dim / 2 form a plane, which turns by position * 10000^(-2c / head_dim)
    radians. Negative positions turn back: that also turns the gradient of turned rows into the
    gradient of the rows. In half precision cos, sin and products are rounded, as in models.
    """
    half = rows.shape[-1] // 2
    planes = torch.arange(half, dtype=torch.float64, device=rows.device)
    angles = positions[:, None] * ROTARY_BASE ** (-planes / half)  # [rows, half], in float64
    cos, sin = angles.cos().to(rows.dtype), angles.sin().to(rows.dtype)
    first, second = rows[..., :half], rows[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def round_to(tensor: Tensor, rounding: torch.dtype) -> Tensor:
    """Return a tensor's values as `rounding` has them, in the tensor's own dtype."""
    return tensor if rounding == tensor.dtype else tensor.to(rounding).to(tensor.dtype)


def _scores(q: Tensor, k: Tensor, slopes: Tensor, scoring: Scoring) -> Tensor:
    """Return the scores [batch, heads, rows, kv_len], in few passes: long cases have billions."""
    positions = scoring.positions.to(q.dtype)
    keys = torch.arange(k.shape[2], device=q.device, dtype=q.dtype)
    distance = keys[None, :] - positions[:, None]  # [rows, kv_len], negative in the past
    scores = (q * scoring.scale) @ k.mT
    far = _first_in_bucket(distance, scoring.causal) if scoring.in_buckets else distance
    slopes = slopes.to(q.dtype)[:, None, None]
    if scoring.noise is not None:
        size = _product_size(q * scoring.scale, k).add_(1).add_(scores.abs())
        scoring.noise.add(scores, size.addcmul_(far.abs(), slopes.abs()))
    before, after = scoring.window
    if before >= 0:
        scores.masked_fill_(distance < -before, float("-inf"))
    if after >= 0:
        scores.masked_fill_(distance > after, float("-inf"))
    if not scoring.causal:
        return scores.addcmul_(far.abs(), -slopes)
    scores.addcmul_(far, slopes)
    first = int(scoring.positions[0]) + 1  # all rows see the keys before it
    scores[..., first:].masked_fill_(distance[:, first:] > 0, float("-inf"))
    return scores


def _first_in_bucket(distance: Tensor, causal: bool) -> Tensor:
    """Return signed distances, each as near as the nearest of its bucket in T5 (arXiv 1910.10683).

    A side has 32 buckets if attention is causal, else 16. Half of them hold a distance each, the
    others divide the rest up to 128 evenly in the logarithm; the last has all beyond.
    """
    single = 16 if causal else 8
    borders = [
        *range(single),
        *(math.ceil(single * (128 / single) ** (step / single)) for step in range(single)),
    ]
    firsts = torch.tensor(borders, dtype=distance.dtype, device=distance.device)
    bucket = torch.searchsorted(firsts, distance.abs(), right=True) - 1
    return firsts[bucket] * distance.sign()


def _product_size(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the usual size of rows @ columns.mT, if rows and columns had random directions."""
    lengths = rows.norm(dim=-1) / math.sqrt(rows.shape[-1])
    size: Tensor = lengths[..., :, None] * columns.norm(dim=-1)[..., None, :]
    return size


def _for_each_head(q: Tensor, k: Tensor) -> Tensor:
    groups = q.shape[1] // k.shape[1]
    return k if groups == 1 else k.repeat_interleave(groups, dim=1)


def _sum_groups(gradient: Tensor, kv_heads: int) -> Tensor:
    batch, heads, kv_len, head_dim = gradient.shape
    if heads == kv_heads:
        return gradient  # a sum over one head would copy
    return gradient.view(batch, kv_heads, heads // kv_heads, kv_len, head_dim).sum(dim=2)
