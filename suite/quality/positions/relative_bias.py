"""T5's bias: a learned number for each head and bucket of distances (arXiv 1910.10683).

Distances under 16 have a bucket each; 16 more buckets divide 16 to 128 evenly in the logarithm, and
the last takes all from there on. The causal form, in which no key lies ahead.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import embedding

BUCKETS, FARTHEST = 32, 128
SINGLE = BUCKETS // 2


def buckets_of(distances: Tensor) -> Tensor:
    """Return the bucket of each distance (query less key): int64 of the same shape."""
    distances = distances.clamp(min=0)
    steps = torch.log(distances.clamp(min=1).float() / SINGLE) / math.log(FARTHEST / SINGLE)
    large = SINGLE + (steps * (BUCKETS - SINGLE)).long()
    return torch.where(distances < SINGLE, distances, large.clamp(max=BUCKETS - 1))


def causal_bias(table: Tensor, length: int) -> Tensor:
    """Return what all layers add to scores: [heads, length, length] float32, -inf ahead.

    `table` is [buckets, heads].
    """
    distances = torch.arange(length - 1, -1, -1, device=table.device)
    behind = embedding(buckets_of(distances), table.float())
    ahead = behind.new_full((length - 1, table.shape[1]), -math.inf)
    diagonals = torch.cat([behind, ahead]).T  # [heads, 2 length - 1], the farthest key first
    return diagonals.unfold(1, length, 1).flip(1)
