"""How large a tile is, and how many warps compute it: one fixed choice by chip and head_dim."""

from typing import NamedTuple

import torch


class Tiles(NamedTuple):
    """A block of `rows` queries meets `keys` keys at a time, `stages` of them on their way."""

    rows: int
    keys: int
    warps: int
    stages: int


def padded(head_dim: int) -> int:
    """Return the width that a row takes in a tile: a power of two, at least 16."""
    return max(16, 1 << (head_dim - 1).bit_length())


def forward_tiles(capability: int, head_dim: int, dtype: torch.dtype) -> Tiles:
    """Return the forward's tiles on a chip of a compute capability, such as 90."""
    width = padded(head_dim)
    if dtype == torch.float32:
        return Tiles(64, 64, 4, 2) if width <= 64 else Tiles(64, 32, 8, 2)
    if capability < 90:
        if width <= 64:
            return Tiles(128, 64, 8, 3)
        return Tiles(128, 64, 8, 2) if width <= 128 else Tiles(64, 32, 8, 2)
    if width <= 64:
        return Tiles(128, 128, 8, 2)
    return Tiles(128, 64, 8, 3) if width <= 128 else Tiles(128, 64, 8, 2)
