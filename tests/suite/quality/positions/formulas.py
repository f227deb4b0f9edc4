"""Attention of each method from its paper's formula, in float64, one query and key at a time."""

import math

import torch
from torch import Tensor

from suite.quality.methods import Positions


def slope(rule: str, head: int, heads: int, head_dim: int) -> float:
    """Return a head's slope; heads that are a power of two, but for the literal rule."""
    standard = math.pow(2, -8 * (head + 1) / heads)
    return {
        "standard": standard,
        "literal": standard,
        "bias_max_16": math.pow(standard, 2),
        "over_sqrt_d": standard / math.sqrt(head_dim),
        "reversed": math.pow(2, -8 * (heads - head) / heads),
        "dropped": 0.0,
    }[rule]


def plane_angle(scaling: str, plane: int, head_dim: int, factor: float, trained_len: int) -> float:
    """Return how far a plane turns in a position, in radians."""
    base = 10000.0
    plain = math.pow(base, -2 * plane / head_dim)
    if scaling == "plain" or factor <= 1:
        return plain
    if scaling == "pi":
        return plain / factor
    if scaling in {"ntk", "dynamic_ntk"}:
        larger = base * math.pow(factor, head_dim / (head_dim - 2))
        return math.pow(larger, -2 * plane / head_dim)
    low, high = (
        head_dim * math.log(trained_len / (turns * 2 * math.pi)) / (2 * math.log(base))
        for turns in (32, 1)
    )
    low, high = max(math.floor(low), 0), min(math.ceil(high), head_dim - 1)
    share = min(1.0, max(0.0, (plane - low) / (high - low)))
    return share * plain / factor + (1 - share) * plain


def rotate_row(row: Tensor, position: int, positions: Positions, factor: float) -> Tensor:
    """Return one row [head_dim] as it stands at a position."""
    assert positions.rotation is not None
    half = len(row) // 2
    size = 0.1 * math.log(factor) + 1 if positions.rotation == "yarn" and factor > 1 else 1.0
    angles = [
        position * plane_angle(positions.rotation, c, 2 * half, factor, positions.trained_len)
        for c in range(half)
    ]
    cos, sin = (
        size * torch.tensor([turn(a) for a in angles], dtype=torch.float64)
        for turn in (math.cos, math.sin)
    )
    first, second = row[:half], row[half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos])


def t5_bucket(distance: int) -> int:
    """Return T5's bucket of a distance in its causal form: 32 buckets up to 128."""
    if distance < 16:
        return distance
    return min(31, 16 + int(math.log(distance / 16) / math.log(128 / 16) * 16 + 1e-9))


def attention(
    q: Tensor, k: Tensor, v: Tensor, positions: Positions, table: Tensor | None = None
) -> Tensor:
    """Return causal attention: q, k and v are [heads, length, head_dim] float64."""
    heads, length, head_dim = q.shape
    out = torch.empty_like(q)
    for head in range(heads):
        for i in range(length):
            whole = length
            if positions.rotation == "dynamic_ntk":  # the base of the run that the query is in
                whole = min(length, -(-(i + 1) // positions.trained_len) * positions.trained_len)
            factor = positions.factor or whole / positions.trained_len
            scores = torch.empty(i + 1, dtype=torch.float64)
            for j in range(i + 1):
                a, b = q[head, i], k[head, j]
                if positions.rotation is not None:
                    a = rotate_row(a, i, positions, factor)
                    b = rotate_row(b, j, positions, factor)
                scores[j] = (a @ b) / math.sqrt(head_dim)
                if positions.slopes is not None:
                    scores[j] -= slope(positions.slopes, head, heads, head_dim) * (i - j)
                if table is not None:
                    scores[j] += table[t5_bucket(i - j), head]
            out[head, i] = torch.softmax(scores, 0) @ v[head, : i + 1]
    return out
