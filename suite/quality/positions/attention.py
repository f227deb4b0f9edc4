"""Causal attention with positions as a method tells them, in training and in tests.

With ALiBi's slopes it is `alibi_attention`, as a model calls it. All else is torch's SDPA in tests,
and the formula with a gradient of its own in training.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from suite.quality.methods import Positions
from suite.quality.positions.rotary import frequencies, turn
from suite.quality.positions.slopes import slopes_by
from suite.quality.positions.training_attention import ShortAttention
from variants.attention import alibi_attention


def attend(q: Tensor, k: Tensor, v: Tensor, positions: Positions, bias: Tensor | None) -> Tensor:
    """Return the attention, like q; with gradients where they are enabled.

    q, k and v are [batch, heads, length, head_dim], before any rotation. `bias` is T5's, of
    relative_bias.causal_bias.
    """
    if positions.rotation == "dynamic_ntk" and q.shape[2] > positions.trained_len:
        return _with_growing_base(q, k, v, positions)
    q, k = turn_both(q, k, positions)
    if positions.slopes is not None and positions.slopes != "dropped":
        slopes = slopes_by(positions.slopes, q.shape[1], q.shape[3])
        return alibi_attention(q, k, v, slopes=slopes.to(q.device))
    if torch.is_grad_enabled():
        length = q.shape[2]
        hidden = _hide_future(q.new_zeros(1, length, length, dtype=torch.float32))
        out: Tensor = ShortAttention.apply(q, k, v, hidden if bias is None else bias)  # type: ignore[no-untyped-call]
        return out
    mask = None if bias is None else bias[None]  # with three dimensions SDPA takes its slow path
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)


def turn_both(q: Tensor, k: Tensor, positions: Positions) -> tuple[Tensor, Tensor]:
    """Return q and k turned as RoPE says, or as they are without it."""
    if positions.rotation is None:
        return q, k
    length, head_dim = q.shape[2:]
    factor = positions.factor or length / positions.trained_len
    angles, size = frequencies(positions.rotation, head_dim, factor, positions.trained_len)
    places, angles = torch.arange(length, device=q.device), angles.to(q.device)
    return turn(q, places, angles, size), turn(k, places, angles, size)


def _with_growing_base(q: Tensor, k: Tensor, v: Tensor, positions: Positions) -> Tensor:
    """Return dynamic NTK's attention: queries of each trained length with the base of their length.

    All keys are turned anew for each such run of queries. A decoder that caches turned keys would
    leave the old ones at older bases.
    """
    out = []
    for first in range(0, q.shape[2], positions.trained_len):
        end = min(first + positions.trained_len, q.shape[2])
        run = positions._replace(factor=end / positions.trained_len)
        some_q, some_k = turn_both(q[:, :, :end], k[:, :, :end], run)
        distances = _distances(end, q.device)[first:]
        out.append(
            scaled_dot_product_attention(
                some_q[:, :, first:], some_k, v[:, :, :end], attn_mask=distances >= 0
            )
        )
    return torch.cat(out, dim=2)


def _distances(length: int, device: torch.device) -> Tensor:
    """Return how far before each query each key lies: [length, length] int64, negative ahead."""
    places = torch.arange(length, device=device)
    return places[:, None] - places[None, :]


def _hide_future(bias: Tensor) -> Tensor:
    return bias.masked_fill(_distances(bias.shape[-1], bias.device) < 0, -math.inf)
