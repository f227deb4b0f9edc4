"""How large a tile is, and how many warps compute it: one fixed choice by chip and head_dim."""

from typing import NamedTuple

import torch


class Tiles(NamedTuple):
    """A tile has `rows` queries and `keys` keys. `stages` of them are on their way at a time."""

    rows: int
    keys: int
    warps: int
    stages: int


MOST_TILES = ((16, 256), (16, 256), (1, 16), (1, 5))
"""The least and the most of each of a tile's numbers; all but `stages` are powers of two."""


class TileTable(NamedTuple):
    """The tiles of a head_dim on a chip: of the forward, of dk and dv, of dq, and of decode."""

    forward: Tiles
    key_gradients: Tiles
    query_gradients: Tiles
    decode: Tiles


def padded_width(width: int) -> int:
    """Return the width or the rows that a tile has for so many: a power of two, at least 16."""
    return max(16, 1 << (width - 1).bit_length())


def refuse_tiles(tiles: Tiles) -> None:
    """Raise ValueError for tiles that no kernel can have."""
    for name, count, (least, most) in zip(tiles._fields, tiles, MOST_TILES, strict=True):
        if not least <= count <= most or (name != "stages" and count & (count - 1)):
            raise ValueError(f"{name} {count}: give a power of two from {least} to {most}")


def tiles_for(capability: int, head_dim: int, dtype: torch.dtype) -> TileTable:
    """Return the tiles for a chip of a compute capability, such as 90.

    Above a head_dim of 128, or 64 in float32, no gradients are launched.
    """
    width = padded_width(head_dim)
    if dtype == torch.float32:
        return _of_float32(width)
    if capability < 90:
        return _of_ampere(width)
    decode = Tiles(64, 64, 4, 3) if width <= 128 else Tiles(16, 64, 4, 2)
    of_queries = Tiles(128, 64, 8, 2)
    if width <= 64:
        return TileTable(Tiles(128, 128, 8, 2), Tiles(64, 128, 8, 2), of_queries, decode)
    forward = Tiles(128, 64, 8, 3 if width <= 128 else 2)
    if capability >= 100 and width > 128:
        forward = Tiles(64, 64, 8, 2)
    return TileTable(forward, Tiles(32, 128, 8, 2), of_queries, decode)


def has_fixed_maximum(capability: int, dtype: torch.dtype) -> bool:
    """Return whether the forward has a loop that needs no running maximum.

    For sm_100 Triton compiles it to more barriers and spills than it saves, and in float32 it saves
    nearly nothing (docs/kernel.md).
    """
    return capability < 100 and dtype != torch.float32


def _of_ampere(width: int) -> TileTable:
    decode = Tiles(32, 64, 4, 3) if width <= 128 else Tiles(16, 64, 4, 2)
    if width <= 64:
        return TileTable(Tiles(128, 64, 8, 3), Tiles(64, 64, 4, 2), Tiles(128, 64, 8, 2), decode)
    forward = Tiles(128, 64, 8, 2) if width <= 128 else Tiles(64, 32, 8, 2)
    return TileTable(forward, Tiles(64, 64, 8, 1), Tiles(64, 64, 8, 2), decode)


def _of_float32(width: int) -> TileTable:
    if width <= 64:
        decode = Tiles(32, 64, 4, 2)
        return TileTable(Tiles(64, 64, 4, 2), Tiles(32, 32, 4, 1), Tiles(64, 32, 4, 1), decode)
    decode = Tiles(16, 32, 8, 2)
    return TileTable(Tiles(64, 32, 8, 2), Tiles(32, 32, 8, 1), Tiles(32, 32, 4, 1), decode)
