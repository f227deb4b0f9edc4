"""A bounded search for tiles: the fixed ones, and those one step away from them."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from variants.triton.tiles import MOST_TILES, Tiles

MARGIN = 0.97  # a time that is over this share of the fixed tiles' is none the better


class SearchResult(NamedTuple):
    """The tiles that were chosen, their time, the fixed ones', and how many were timed."""

    tiles: Tiles
    time_ms: float
    fixed_ms: float
    timed: int


def candidates(fixed: Tiles) -> list[Tiles]:
    """Return the tiles that have half or twice as much of one number, or a stage more or fewer."""
    steps = [
        fixed._replace(**{name: count})
        for name in ("rows", "keys", "warps")
        for count in (getattr(fixed, name) // 2, getattr(fixed, name) * 2)
    ]
    steps += [fixed._replace(stages=fixed.stages + step) for step in (-1, 1)]
    return [
        tiles
        for tiles in steps
        if all(
            least <= count <= most for count, (least, most) in zip(tiles, MOST_TILES, strict=True)
        )
    ]


def search(
    fixed: Tiles,
    compiles: Callable[[Tiles], bool],
    time_ms: Callable[[Tiles], float],
    *,
    workers: int,
    ends_at: float,
) -> SearchResult:
    """Return the fastest of `fixed` and its candidates, the fixed ones unless others are faster.

    `compiles` compiles some tiles in one of `workers` threads, and returns whether the chip has
    room for them. `time_ms` returns the time of a call with them, inf where its answer is wrong;
    nothing is compiled meanwhile. The fastest candidate is timed once more after the fixed tiles,
    and has to be under MARGIN of their time both times. Nothing is begun after `ends_at`, in the
    seconds of time.monotonic.
    """
    fixed_ms = time_ms(fixed)
    best, best_ms, timed = fixed, math.inf, 1
    for tiles in _compiled(candidates(fixed), compiles, workers, ends_at):
        if time.monotonic() > ends_at:
            break
        timed += 1
        if (found := time_ms(tiles)) < best_ms:
            best, best_ms = tiles, found
    if best_ms <= MARGIN * fixed_ms and time.monotonic() <= ends_at:
        again_ms, best_again_ms = time_ms(fixed), time_ms(best)
        if best_again_ms <= MARGIN * again_ms:
            return SearchResult(best, best_again_ms, again_ms, timed)
    return SearchResult(fixed, fixed_ms, fixed_ms, timed)


def _compiled(
    choices: list[Tiles], compiles: Callable[[Tiles], bool], workers: int, ends_at: float
) -> Iterator[Tiles]:
    """Yield the choices that compile; as many as there are workers are compiled at a time."""
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(choices), workers):
            if time.monotonic() > ends_at:
                return
            together = choices[first : first + workers]
            fits = list(pool.map(compiles, together))
            yield from (tiles for tiles, has_room in zip(together, fits, strict=True) if has_room)
