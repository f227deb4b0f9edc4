"""Norms by blocks of 64 rows, counted from the last: what bounds on weights are made of."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 64
_SMALLEST = 1e-6  # a longest query; shorter ones are bounded as if they were that long


def norms_of(vectors: Tensor) -> Tensor:
    """Return the norm of each row: [batch, heads, length], in the rows' dtype."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return norms


def log2_norms(v: Tensor) -> Tensor:
    """Return log2 of the norm of every value: [batch, kv_heads, kv_len] float32."""
    norms: Tensor = torch.linalg.vector_norm(v, dim=-1, dtype=torch.float32)
    return norms.log2_()


def largest(numbers: Tensor) -> Tensor:
    """Return the largest of each block of [batch, heads, length]: [batch, heads, blocks]."""
    return _blocks(numbers, -math.inf).amax(dim=-1).float()


def smallest_near(numbers: Tensor, rows: int, near: int) -> Tensor:
    """Return the smallest number of each of the last `rows` blocks and the `near` before each."""
    smallest = _blocks(numbers, math.inf).amin(dim=-1)
    padded = pad(smallest, (near, 0), value=math.inf)
    return padded.unfold(-1, near + 1, 1)[:, :, -rows:].amin(dim=-1)


def unevenness(log2_sizes: Tensor) -> Tensor:
    """Return the log of the largest size over the smallest: [batch, heads]."""
    least, most = log2_sizes.aminmax(dim=-1)
    return (most - least) * math.log(2)


def effective(norms: Tensor, longest: Tensor) -> Tensor:
    """Return for each block the g at which exp(L g) bounds the mean of exp(L norm): [..., blocks].

    That holds for every L up to `longest` [batch, heads]. The log of the mean is convex in L and 0
    at L = 0, so it lies under its chord.
    """
    longest = longest.clamp(min=_SMALLEST)[..., None]
    sums = (_blocks(norms.float(), 0.0) * longest[..., None]).logsumexp(dim=-1)
    return (sums - math.log(BLOCK)) / longest


def norms_of_sums(k: Tensor) -> Tensor:
    """Return the norm of the sum of each whole block: [batch, kv_heads, blocks] float32."""
    blocks = torch.unflatten(k[:, :, k.shape[2] % BLOCK :], 2, (-1, BLOCK))
    return norms_of(blocks.sum(dim=3)).float()


def rounded_up(dtype: torch.dtype) -> float:
    """Return the factor by which norms in this dtype are rounded up, for a certain bound."""
    return 1 + max(torch.finfo(dtype).eps, 1e-5)  # 1e-5: sums of BLOCK or head_dim float32 terms


def _blocks(numbers: Tensor, filler: float) -> Tensor:
    """Return [batch, heads, length] as [batch, heads, blocks, BLOCK], filled up in front."""
    front = -numbers.shape[2] % BLOCK
    if front:
        numbers = pad(numbers, (front, 0), value=filler)
    return torch.unflatten(numbers, -1, (-1, BLOCK))
