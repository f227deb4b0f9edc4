"""Rotary embedding for the oracle of `rope`: rows turned by the angles of their positions."""

import torch
from torch import Tensor

BASE = 10000.0


def rotate(rows: Tensor, positions: Tensor) -> Tensor:
    """Return rows [batch, heads, rows, head_dim] turned by positions [rows], in the rows' dtype.

    Channels c and c + head_dim / 2 form a plane, which turns by position * 10000^(-2c / head_dim)
    radians. Negative positions turn back: that also turns the gradient of turned rows into the
    gradient of the rows. In half precision cos, sin and products are rounded, as in models.
    """
    half = rows.shape[-1] // 2
    planes = torch.arange(half, dtype=torch.float64, device=rows.device)
    angles = positions[:, None] * BASE ** (-planes / half)  # [rows, half], in float64
    cos, sin = angles.cos().to(rows.dtype), angles.sin().to(rows.dtype)
    first, second = rows[..., :half], rows[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
