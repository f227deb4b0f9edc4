"""The formula of ALiBi attention, written out.

Scores, bias and softmax are float32 at least: scores of large inputs rounded to bfloat16 would
make the answer wrong by half, and in float16 they would be infinite from 65504 on.
"""

import torch
from torch import Tensor


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    *,
    scale: float,
    causal: bool,
) -> Tensor:
    """Return softmax(scale * q k^T + bias) v: [batch, heads, q_len, head_dim], in v's dtype.

    q is [batch, heads, q_len, head_dim]; k and v are [batch, kv_heads, kv_len, head_dim]; slopes
    are [heads]. Query rows are the last q_len positions among the keys.
    """
    k, v = for_each_head(q, k), for_each_head(q, v)
    weights = _weights(q, k, slopes, scale, causal)
    return weights.to(v.dtype) @ v


def _weights(q: Tensor, k: Tensor, slopes: Tensor, scale: float, causal: bool) -> Tensor:
    wide = torch.promote_types(q.dtype, torch.float32)
    q_len, kv_len = q.shape[2], k.shape[2]
    keys = torch.arange(kv_len, device=q.device)
    positions = torch.arange(kv_len - q_len, kv_len, device=q.device)
    distance = keys[None, :] - positions[:, None]  # [q_len, kv_len], negative in the past
    bias = slopes.to(wide)[:, None, None] * -distance.abs()  # [heads, q_len, kv_len]
    scores = q.to(wide) @ k.to(wide).transpose(2, 3) * scale + bias  # [batch, heads, q_len, kv_len]
    if causal:
        scores = scores.masked_fill(distance > 0, float("-inf"))
    return torch.softmax(scores, dim=-1)


def for_each_head(q: Tensor, k: Tensor) -> Tensor:
    """Return keys or values with those of each kv head repeated for all its query heads."""
    groups = q.shape[1] // k.shape[1]
    return k if groups == 1 else k.repeat_interleave(groups, dim=1)
