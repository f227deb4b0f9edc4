"""The formula of ALiBi attention and of its gradients, written out.

In float64 it is the oracle. In any other dtype, with bias and softmax in float32, it shows the
error that this dtype can't avoid.
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
    positions: Tensor | None = None,
) -> Tensor:
    """Return softmax(scale * q k^T + bias) v: [batch, heads, rows, head_dim].

    q is [batch, heads, rows, head_dim]; k and v are [batch, kv_heads, kv_len, head_dim]; slopes are
    [heads]. `positions` [rows] is the position of each query row among the keys; by default the
    rows are the last `rows` positions.
    """
    k, v = _for_each_head(q, k), _for_each_head(q, v)
    weights = _weights(q, k, slopes, scale, causal, positions)
    return weights.to(v.dtype) @ v


def gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    dout: Tensor,
    *,
    scale: float,
    causal: bool,
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return out, dq, dk and dv; dk and dv are float32, or float64 for float64 inputs.

    Arguments are those of `attend`, and dout [batch, heads, rows, head_dim]. The gradient of the
    softmax is weights * (dweights - rowsum(dout * out)) with the rounded out, as in every flash
    kernel (FlashAttention, arXiv 2205.14135, appendix B.4).
    """
    kv_heads = k.shape[1]
    k, v = _for_each_head(q, k), _for_each_head(q, v)
    weights = _weights(q, k, slopes, scale, causal, positions)  # [batch, heads, rows, kv_len]
    narrow = weights.to(v.dtype)
    out = narrow @ v
    dweights = (dout @ v.transpose(-1, -2)).to(weights.dtype)
    drow = (out.to(weights.dtype) * dout.to(weights.dtype)).sum(dim=-1, keepdim=True)
    dscores = (weights * (dweights - drow) * scale).to(q.dtype)
    dk = (dscores.transpose(-1, -2) @ q).to(weights.dtype)
    dv = (narrow.transpose(-1, -2) @ dout).to(weights.dtype)
    return out, dscores @ k, _sum_groups(dk, kv_heads), _sum_groups(dv, kv_heads)


def _weights(
    q: Tensor, k: Tensor, slopes: Tensor, scale: float, causal: bool, positions: Tensor | None
) -> Tensor:
    wide = torch.promote_types(q.dtype, torch.float32)
    q_len, kv_len = q.shape[2], k.shape[2]
    keys = torch.arange(kv_len, device=q.device)
    if positions is None:
        positions = torch.arange(kv_len - q_len, kv_len, device=q.device)
    distance = keys[None, :] - positions[:, None]  # [rows, kv_len], negative in the past
    bias = slopes.to(wide)[:, None, None] * -distance.abs()  # [heads, rows, kv_len]
    scores = (q @ k.transpose(-1, -2)).to(wide) * scale + bias  # [batch, heads, rows, kv_len]
    if causal:
        scores = scores.masked_fill(distance > 0, float("-inf"))
    return torch.softmax(scores, dim=-1)


def _for_each_head(q: Tensor, k: Tensor) -> Tensor:
    groups = q.shape[1] // k.shape[1]
    return k if groups == 1 else k.repeat_interleave(groups, dim=1)


def _sum_groups(gradient: Tensor, kv_heads: int) -> Tensor:
    batch, heads, kv_len, head_dim = gradient.shape
    if heads == kv_heads:
        return gradient  # a sum over one head would copy
    return gradient.view(batch, kv_heads, heads // kv_heads, kv_len, head_dim).sum(dim=2)
