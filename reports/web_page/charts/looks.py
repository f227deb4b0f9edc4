"""How variants look: a colour, a shape and a dash each, so that colour is never alone.

The colours are near those of Okabe and Ito (jfly.uni-koeln.de/color), which colour-blind people can
tell apart, darkened or lightened until each stands out on white and on near-black.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from reports.web_page.page_cells import PageCell

_COLOURS = (
    "#d9541e",
    "#0f7bbf",
    "#0d9b76",
    "#c2649a",
    "#c98a0c",
    "#8570d0",
    "#46a3d9",
    "#8c7b45",
)
_BASELINE_COLOUR = "#868b90"
_SHAPES = (
    "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",  # circle
    "M-.9,-.9H.9V.9H-.9Z",  # square
    "M0,-1L1,.8H-1Z",  # triangle that points up
    "M0,-1.15L.85,0L0,1.15L-.85,0Z",  # diamond
    "M0,1L1,-.8H-1Z",  # triangle that points down
    "M-.35,-1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",  # plus
    "M-1,-.6L-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0Z",  # cross
    "M1,0L-.8,1V-1Z",  # triangle that points right
    "M-1,0L.8,1V-1Z",  # triangle that points left
    "M-.5,-.9H.5L1,0L.5,.9H-.5L-1,0Z",  # hexagon
    "M-1,-.4H1V.4H-1Z",  # bar
)
"""Paths within -1 to 1, as Vega takes them for the shape of a point."""
_DASHES = ((1, 0), (7, 3), (2, 2.5), (9, 3, 2, 3), (4, 3))


class Look(msgspec.Struct, frozen=True):
    """A variant's colour, the path of its points and the dashes of its line."""

    variant: str
    colour: str
    shape: str
    dash: tuple[float, ...]


def looks_of(cells: Iterable[PageCell]) -> list[Look]:
    """Return a look for each variant, baselines last.

    The eight variants with the most cells differ in colour; with more, no two share all three.
    """
    counts = Counter((cell.answers != "alibi", cell.variant) for cell in cells)
    ordered = sorted(counts, key=lambda key: (key[0], -counts[key], key[1]))
    return [
        numbered_look(variant, number, is_baseline=is_baseline)
        for number, (is_baseline, variant) in enumerate(ordered)
    ]


def numbered_look(variant: str, number: int, *, is_baseline: bool = False) -> Look:
    """Return the look of a number from 0; the first eight differ in colour and shape."""
    colour = _BASELINE_COLOUR if is_baseline else _COLOURS[number % len(_COLOURS)]
    shape, dash = _SHAPES[number % len(_SHAPES)], _DASHES[number % len(_DASHES)]
    return Look(variant, colour, shape, dash)
