"""Pieces of SVG that pictures are written in by hand, because lines and points need no library.

A method has a colour and a dash of its own, and its name stands beside it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Ink(NamedTuple):
    """The colour of a method, and the dashes of its line."""

    colour: str
    dash: str


INKS = {
    "ALiBi": Ink("#e4572e", "none"),
    "ALiBi and RoPE": Ink("#a05fb5", "9 3 2 3"),
    "RoPE": Ink("#2e86ab", "7 3"),
    "RoPE, YaRN": Ink("#3aa6a0", "2 2.5"),
    "T5's bias": Ink("#c98a0c", "4 3"),
    "sinusoidal": Ink("#3d9a5f", "12 3"),
    "none": Ink("#8a8a8a", "1 3"),
}
"""By the name of a row: the methods as trained, and RoPE with its best scaling."""

NAME_HEIGHT = 13
_STYLE = """<style>
text { font: 12px sans-serif; fill: #333 }
.title { font-size: 13px; font-weight: bold }
.grid { stroke: #8884; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
</style>"""


def drawing(title: str, words: str, width: float, height: float, shapes: Iterable[str]) -> str:
    """Return an SVG with a title and a line of words over its shapes, which begin at y = 64."""
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{title}</title>",
        _STYLE,
        label(8, 18, title, "start", kind="title"),
        label(8, 36, words, "start"),
        *shapes,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def label(x: float, y: float, words: str, anchor: str, *, kind: str = "", colour: str = "") -> str:
    """Return a text; `words` are ours and hold nothing that XML would read."""
    attributes = f' class="{kind}"' if kind else ""
    attributes += f' style="fill: {colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{attributes}>{words}</text>'


def frame(x: float, y: float, width: float, height: float) -> str:
    """Return the frame of a panel."""
    sides = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect class="grid" {sides} fill="none"/>'


def bit_ticks(low: float, high: float) -> list[float]:
    """Return the bits per byte to name on an axis from low to high."""
    step = 0.1 if high - low > 0.25 else 0.02
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def spread_names(heights: Mapping[str, float], lowest: float) -> dict[str, float]:
    """Return where each name stands: near its height, NAME_HEIGHT apart, over `lowest`."""
    names = sorted(heights, key=lambda name: heights[name])
    places: dict[str, float] = {}
    last = -math.inf
    for name in names:
        last = max(heights[name], last + NAME_HEIGHT)
        places[name] = last
    limit = lowest
    for name in reversed(names):
        places[name] = min(places[name], limit)
        limit = places[name] - NAME_HEIGHT
    return places
