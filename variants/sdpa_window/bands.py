"""Bands: heads and blocks of queries that share one window, so that a few calls are enough."""

from collections.abc import Iterator
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

_CALL = 32  # the cost of one more call, in pairs of blocks
_PARTS = 8  # in which rows are cut: a call on few rows fills neither tiles nor threads


class Band(NamedTuple):
    """Neighbouring heads and blocks of queries that look `back` blocks back; ends are exclusive."""

    first_head: int
    last_head: int
    first_block: int
    last_block: int
    back: int


def bands(back: list[list[int]], before: int, threads: float) -> list[Band]:
    """Return the bands that cover `back` [heads][blocks], each as wide as its widest block.

    A band is cut in two, between heads or at an eighth of all blocks, where that saves most. Each
    half is cut again, as long as a cut saves more than one more call costs. `before` is the number
    of blocks of keys before the first block of queries. `threads` is the number of threads over the
    batch size.
    """
    uneven = [_unevenness(heads, threads) for heads in range(len(back) + 1)]
    blocks, parts = len(back[0]), min(len(back[0]), _PARTS)
    edges = [blocks * part // parts for part in range(parts + 1)]
    widest = [[max(row[first:last]) for first, last in pairwise(edges)] for row in back]
    return list(_cut(widest, 0, edges, before, uneven))


def _unevenness(heads: int, threads: float) -> float:
    """Return how much longer the busiest thread takes for triangles than the average thread.

    A thread takes a run of consecutive rows, and a triangle's last rows are its longest.
    """
    whole, part = divmod(heads / threads, 1)
    return (whole + 2 * part - part**2) * threads / heads if heads else 1.0


def _cut(
    back: list[list[int]], head: int, edges: list[int], before: int, uneven: list[float]
) -> Iterator[Band]:
    """Yield the bands of the heads from `head` on; `edges` bound the parts of the blocks."""
    heads, first, last = len(back), edges[0], edges[-1]
    cost = partial(_cost, uneven)
    by_head = [max(row) for row in back]
    by_part = [max(column) for column in zip(*back, strict=True)]
    widest, seen = max(by_head), first + before
    saved, axis, at = float(_CALL), "", 0
    whole = cost(heads, seen, last - first, widest)
    for cut, (left, right) in enumerate(_both_sides(by_head), start=1):
        parts = cost(cut, seen, last - first, left)
        parts += cost(heads - cut, seen, last - first, right)
        if whole - parts > saved:
            saved, axis, at = whole - parts, "heads", cut
    for cut, (left, right) in enumerate(_both_sides(by_part), start=1):
        edge = edges[cut]
        parts = cost(heads, seen, edge - first, left)
        parts += cost(heads, edge + before, last - edge, right)
        if whole - parts > saved:
            saved, axis, at = whole - parts, "parts", cut
    if axis == "heads":
        yield from _cut(back[:at], head, edges, before, uneven)
        yield from _cut(back[at:], head + at, edges, before, uneven)
    elif axis == "parts":
        yield from _cut([row[:at] for row in back], head, edges[: at + 1], before, uneven)
        yield from _cut([row[at:] for row in back], head, edges[at:], before, uneven)
    else:
        yield Band(head, head + heads, first, last, widest)


def _both_sides(widths: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the widest window on the left and on the right of every possible cut."""
    right = list(accumulate(reversed(widths), max))[-2::-1]
    return zip(accumulate(widths, max), right, strict=False)


def _cost(uneven: list[float], heads: int, before: int, blocks: int, back: int) -> float:
    """Return how many pairs of blocks are computed: a triangle until windows fit, then windows."""
    short = min(max(back - before, 0), blocks)
    triangle = short * before + short * (short + 1) // 2
    return heads * (uneven[heads] * triangle + (blocks - short) * (back + 1))
