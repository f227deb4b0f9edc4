"""What a rotary oracle has in place of a bias: rows turned by the angles of their positions."""

import torch
from torch import Tensor

BASE = 10000.0


def rotate(rows: Tensor, positions: Tensor) -> Tensor:
    """Return rows [batch, heads, rows, head_dim] turned by their positions [rows], in their dtype.

    Channel c and channel c + head_dim / 2 are a plane, which turns by position * base^(-2c /
    head_dim). Negative positions turn back, and so turn a gradient of turned rows into that of
    the rows. In half precision cos, sin and products are rounded, as they are in models.
    """
    half = rows.shape[-1] // 2
    planes = torch.arange(half, dtype=torch.float64, device=rows.device)
    angles = positions[:, None] * BASE ** (-planes / half)  # [rows, half], in float64
    cos, sin = angles.cos().to(rows.dtype), angles.sin().to(rows.dtype)
    first, second = rows[..., :half], rows[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
