"""Heads and blocks of queries put together in bands of one window each, so that few calls do."""

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

_CALL = 8  # a call more costs as much as this many pairs of blocks


class Band(NamedTuple):
    """Heads and blocks of queries, from first to before last, that look `back` blocks back."""

    first_head: int
    last_head: int
    first_block: int
    last_block: int
    back: int


def bands(back: list[list[int]], before: int) -> list[Band]:
    """Return the bands that cover `back` [heads][blocks], each as wide as its widest block.

    A band is cut in two, where that saves most, for as long as it saves more than a call costs.
    `before` blocks of keys stand before the first block of queries.
    """
    return list(_cut(back, 0, 0, before))


def _cut(back: list[list[int]], head: int, block: int, before: int) -> Iterator[Band]:
    """Yield the bands of a rectangle whose first head and block are `head` and `block`."""
    heads, blocks = len(back), len(back[0])
    by_head = [max(row) for row in back]
    by_block = [max(column) for column in zip(*back, strict=True)]
    widest = max(by_head)
    seen = block + before
    saved, axis, at = _CALL, "", 0
    whole = heads * _pairs(seen, blocks, widest)
    for cut, (left, right) in enumerate(_both_sides(by_head), start=1):
        cost = cut * _pairs(seen, blocks, left) + (heads - cut) * _pairs(seen, blocks, right)
        if whole - cost > saved:
            saved, axis, at = whole - cost, "heads", cut
    for cut, (left, right) in enumerate(_both_sides(by_block), start=1):
        cost = _pairs(seen, cut, left) + _pairs(seen + cut, blocks - cut, right)
        if whole - heads * cost > saved:
            saved, axis, at = whole - heads * cost, "blocks", cut
    if axis == "heads":
        yield from _cut(back[:at], head, block, before)
        yield from _cut(back[at:], head + at, block, before)
    elif axis == "blocks":
        yield from _cut([row[:at] for row in back], head, block, before)
        yield from _cut([row[at:] for row in back], head, block + at, before)
    else:
        yield Band(head, head + heads, block, block + blocks, widest)


def _both_sides(widths: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the widest on each side of every cut."""
    right = list(accumulate(reversed(widths), max))[-2::-1]
    return zip(accumulate(widths, max), right, strict=False)


def _pairs(before: int, blocks: int, back: int) -> int:
    """Return the pairs of blocks that one head computes: a triangle until its windows fit."""
    short = min(max(back - before, 0), blocks)
    return short * before + short * (short + 1) // 2 + (blocks - short) * (back + 1)
