"""t5_bias: a relative bias by buckets of distances, as T5 has it, in SDPA's dense mask.

For: what a model with T5's learned bias pays instead.
Not for: ALiBi: distances of one bucket have the same bias.

T5 learns a number for each head and each of 32 buckets: distances under 16 have one each, 16 to 128
are divided evenly in the logarithm, and the last takes all beyond. Bidirectional attention has half
the buckets for each side. The learned numbers don't matter for the cost, so the bias of a bucket is
that of ALiBi at its first distance: -slope * distance. It is checked against an oracle that says
so, and never ranked. Stores a [1, heads, q_len, kv_len] mask, float32 on a CPU and else in q's
dtype; later calls with the same slopes reuse it, as T5's layers share theirs. A gradient for the
learned numbers, which training needs, is not computed: it would cost more.
Source: T5 (arXiv 1910.10683) as transformers' modeling_t5 has its buckets.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.batches.ragged import ragged
from variants.problem import Attention, Spec
from variants.slopes_cache import cache_by_slopes

BUCKETS, FARTHEST = 32, 128


def prepare(spec: Spec) -> Attention:
    """Return SDPA with a dense mask of the bucketed bias."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    mask_dtype = torch.float32 if spec.device.type == "cpu" else spec.dtype
    buckets_a_side = BUCKETS if spec.causal else BUCKETS // 2

    @cache_by_slopes
    def mask(slopes: Tensor) -> Tensor:
        keys = torch.arange(spec.kv_len, device=slopes.device)
        queries = torch.arange(spec.kv_len - spec.q_len, spec.kv_len, device=slopes.device)
        distance = keys[None, :] - queries[:, None]  # [q_len, kv_len]
        firsts = torch.tensor(_first_distances(buckets_a_side), device=slopes.device)
        table = -slopes[:, None] * firsts  # [heads, buckets], what T5 would learn
        bias = table[:, _buckets(distance.abs(), buckets_a_side)]
        if spec.causal:
            bias = bias.masked_fill(distance > 0, float("-inf"))
        return bias[None].to(mask_dtype)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask(slopes),
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
        )

    return attention


def _buckets(distances: Tensor, buckets: int) -> Tensor:
    """Return the bucket of each distance, of so many on a side."""
    single = buckets // 2
    steps = torch.log(distances.clamp(min=1) / single) / math.log(FARTHEST / single)
    large = single + (steps * (buckets - single)).long()
    return torch.where(distances < single, distances, large.clamp(max=buckets - 1))


def _first_distances(buckets: int) -> list[int]:
    """Return the least distance of each bucket."""
    of_each = _buckets(torch.arange(FARTHEST + 1), buckets).tolist()
    return [of_each.index(bucket) for bucket in range(buckets)]
