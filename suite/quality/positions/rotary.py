"""RoPE in the form of Llama and Mistral, and its scalings to more positions than were trained.

With L the trained length, s the factor, d the head_dim and base b = 10000, plane c of d/2 turns by
position * f(c), f(c) = b^(-2c/d). What a scaling changes:

    pi           f / s (Chen et al., arXiv 2306.15595)
    ntk          base b * s^(d / (d-2)) (the "NTK-aware" base of YaRN's section 3.1)
    dynamic_ntk  the same, with s the length so far over L
    yarn         f / s for planes that turn less than once in L, f for those that turn over 32
                 times, a blend between; q and k times 0.1 ln s + 1 (Peng et al., arXiv 2309.00071)
"""

import math

import torch
from torch import Tensor

from suite.quality.methods import RotaryScaling

BASE = 10000.0
MOST_TURNS, FEWEST_TURNS = 32, 1
"""YaRN's beta_fast and beta_slow, as its authors set them for Llama."""


def frequencies(
    scaling: RotaryScaling, head_dim: int, factor: float, trained_len: int
) -> tuple[Tensor, float]:
    """Return the angle a position of each plane, [head_dim / 2] float64, and the size of q and k.

    Every scaling is plain RoPE at a factor of 1 or less.
    """
    plain = _powers(BASE, head_dim)
    if scaling == "plain" or factor <= 1:
        return plain, 1.0
    match scaling:
        case "pi":
            return plain / factor, 1.0
        case "ntk" | "dynamic_ntk":
            return _powers(BASE * factor ** (head_dim / (head_dim - 2)), head_dim), 1.0
        case "yarn" | "yarn_untempered":
            slow = _slow_share(head_dim, trained_len)
            size = 0.1 * math.log(factor) + 1.0 if scaling == "yarn" else 1.0
            return plain / factor * slow + plain * (1 - slow), size


def turn(rows: Tensor, positions: Tensor, angles: Tensor, size: float = 1.0) -> Tensor:
    """Return rows [..., rows, head_dim] turned by positions [rows] times angles [head_dim / 2].

    Channels c and c + head_dim / 2 form a plane. Angles are float64, cos and sin of rows' dtype.
    """
    turns = torch.outer(positions.to(angles), angles).repeat(1, 2)
    cos, sin = (turns.cos() * size).to(rows.dtype), (turns.sin() * size).to(rows.dtype)
    first, second = rows.chunk(2, dim=-1)
    return rows * cos + torch.cat([-second, first], dim=-1) * sin


def _powers(base: float, head_dim: int) -> Tensor:
    return base ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)


def _slow_share(head_dim: int, trained_len: int) -> Tensor:
    """Return how much each plane is interpolated: 0 for the fast ones, 1 for the slow."""
    low = max(math.floor(_plane_of(MOST_TURNS, head_dim, trained_len)), 0)
    high = min(math.ceil(_plane_of(FEWEST_TURNS, head_dim, trained_len)), head_dim - 1)
    planes = torch.arange(head_dim // 2, dtype=torch.float64)
    return ((planes - low) / max(high - low, 1e-3)).clamp(0, 1)


def _plane_of(turns: float, head_dim: int, trained_len: int) -> float:
    """Return the plane, as a real number, that turns so many times in the trained length."""
    wavelengths = trained_len / (turns * 2 * math.pi)
    return head_dim * math.log(wavelengths) / (2 * math.log(BASE))
