"""Heads and blocks of queries put together in bands of one window each, so that few calls do."""

from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from typing import NamedTuple

_CALL = 32  # a call more costs as much as this many pairs of blocks
_PARTS = 8  # a call on few rows fills neither tiles nor threads


class Band(NamedTuple):
    """Heads and blocks of queries, from first to before last, that look `back` blocks back."""

    first_head: int
    last_head: int
    first_block: int
    last_block: int
    back: int


def bands(back: list[list[int]], before: int, threads: float) -> list[Band]:
    """Return the bands that cover `back` [heads][blocks], each as wide as its widest block.

    A band is cut in two, where that saves most, for as long as it saves more than a call costs,
    but none has less than an eighth of all blocks.
    `before` blocks of keys stand before the first block of queries; `threads`, shared
    out over the batch, compute a call.
    """
    uneven = [_unevenness(heads, threads) for heads in range(len(back) + 1)]
    least = max(1, len(back[0]) // _PARTS)
    return list(_cut(back, 0, 0, before, uneven, least))


def _unevenness(heads: int, threads: float) -> float:
    """Return how much longer than all threads on average the busiest takes for triangles.

    A thread takes a run of consecutive rows, and the last rows of a triangle are the longest.
    """
    whole, part = divmod(heads / threads, 1)
    return (whole + 2 * part - part**2) * threads / heads if heads else 1.0


def _cut(
    back: list[list[int]], head: int, block: int, before: int, uneven: list[float], least: int
) -> Iterator[Band]:
    """Yield the bands of a rectangle whose first head and block are `head` and `block`."""
    heads, blocks = len(back), len(back[0])
    cost = partial(_cost, uneven)
    by_head = [max(row) for row in back]
    by_block = [max(column) for column in zip(*back, strict=True)]
    widest = max(by_head)
    seen = block + before
    saved, axis, at = float(_CALL), "", 0
    whole = cost(heads, seen, blocks, widest)
    if whole - sum(map(sum, back)) - heads * blocks <= _CALL:  # no bands could save a call
        yield Band(head, head + heads, block, block + blocks, widest)
        return
    for cut, (left, right) in enumerate(_both_sides(by_head), start=1):
        parts = cost(cut, seen, blocks, left) + cost(heads - cut, seen, blocks, right)
        if whole - parts > saved:
            saved, axis, at = whole - parts, "heads", cut
    for cut, (left, right) in enumerate(_both_sides(by_block), start=1):
        if left == right or not least <= cut <= blocks - least:
            continue
        parts = cost(heads, seen, cut, left) + cost(heads, seen + cut, blocks - cut, right)
        if whole - parts > saved:
            saved, axis, at = whole - parts, "blocks", cut
    if axis == "heads":
        yield from _cut(back[:at], head, block, before, uneven, least)
        yield from _cut(back[at:], head + at, block, before, uneven, least)
    elif axis == "blocks":
        yield from _cut([row[:at] for row in back], head, block, before, uneven, least)
        yield from _cut([row[at:] for row in back], head, block + at, before, uneven, least)
    else:
        yield Band(head, head + heads, block, block + blocks, widest)


def _both_sides(widths: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the widest on each side of every cut."""
    right = list(accumulate(reversed(widths), max))[-2::-1]
    return zip(accumulate(widths, max), right, strict=False)


def _cost(uneven: list[float], heads: int, before: int, blocks: int, back: int) -> float:
    """Return the pairs of blocks that heads compute: a triangle until their windows fit."""
    short = min(max(back - before, 0), blocks)
    triangle = short * before + short * (short + 1) // 2
    return heads * (uneven[heads] * triangle + (blocks - short) * (back + 1))
