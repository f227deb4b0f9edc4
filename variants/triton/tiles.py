"""How large a tile is, and how many warps compute it: one fixed choice by chip and head_dim."""

from typing import NamedTuple

import torch


class Tiles(NamedTuple):
    """A tile has `rows` queries and `keys` keys. `stages` of them are on their way at a time."""

    rows: int
    keys: int
    warps: int
    stages: int


class TileTable(NamedTuple):
    """The tiles of a head_dim on a chip: of the forward, of dk and dv, and of dq."""

    forward: Tiles
    key_gradients: Tiles
    query_gradients: Tiles


def padded(head_dim: int) -> int:
    """Return the width that a row takes in a tile: a power of two, at least 16."""
    return max(16, 1 << (head_dim - 1).bit_length())


def tiles_for(capability: int, head_dim: int, dtype: torch.dtype) -> TileTable:
    """Return the tiles for a chip of a compute capability, such as 90.

    Above a head_dim of 128, or 64 in float32, the forward alone is launched.
    """
    width = padded(head_dim)
    if dtype == torch.float32:
        return _of_float32(width)
    if capability < 90:
        return _of_ampere(width)
    of_queries = Tiles(128, 64, 8, 2)
    if width <= 64:
        return TileTable(Tiles(128, 128, 8, 2), Tiles(64, 128, 8, 2), of_queries)
    forward = Tiles(128, 64, 8, 3 if width <= 128 else 2)
    if capability >= 100 and width > 128:
        forward = Tiles(64, 64, 8, 2)
    return TileTable(forward, Tiles(32, 128, 8, 2), of_queries)


def _of_ampere(width: int) -> TileTable:
    if width <= 64:
        return TileTable(Tiles(128, 64, 8, 3), Tiles(64, 64, 4, 2), Tiles(128, 64, 8, 2))
    forward = Tiles(128, 64, 8, 2) if width <= 128 else Tiles(64, 32, 8, 2)
    return TileTable(forward, Tiles(64, 64, 8, 1), Tiles(64, 64, 8, 2))


def _of_float32(width: int) -> TileTable:
    if width <= 64:
        return TileTable(Tiles(64, 64, 4, 2), Tiles(32, 32, 4, 1), Tiles(64, 32, 4, 1))
    return TileTable(Tiles(64, 32, 8, 2), Tiles(32, 32, 8, 1), Tiles(32, 32, 4, 1))
