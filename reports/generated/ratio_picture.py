"""ratio.svg of a device: time over bias-free SDPA's against length, a line for each variant.

A row of panels for each mode, a column for each dtype. SVG by hand, because lines need no library.
Colours suit a light and a dark page. Each line has a dash and its name at its end, so that colour
is never alone.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from reports.tables.columns import mode_of
from reports.tables.row import Row
from reports.tables.table import by
from variants.catalog import PEERS

DTYPES = ("bfloat16", "float16", "float32")
MODES = {
    "forward": "forward",
    "backward": "forward and backward",
    "decode": "decode, one query",
    "decode, norms": "decode with norms",
}
"""The modes that are drawn, and what a panel calls them."""

_LEAST_WIDTH = 640  # of the title
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP, _NAMES, _FOOT = 300, 190, 60, 74, 90, 104, 56
_USUAL_LOW, _HIGH = 0.0625, 8.0
_COLOURS = {
    "native_window": "#e4572e",
    "sdpa_window": "#8a8a8a",
    "sdpa_mask": "#2e86ab",
    "sdpa_key": "#3d9a5f",
    "sdpa_folded": "#a05fb5",
    "sdpa_halves": "#5b6ee1",
    "flex": "#c98a0c",
    "compile_blocks": "#d1518f",
    "compile": "#3aa6a0",
    "eager": "#9c6b4f",
    "vllm_cpu": "#0f7b8a",
    "vllm_cpu_cache": "#0f7b8a",
    "ggml": "#7d7a12",
}
_PEERS_LEFT_OUT = {peer.name for peer in PEERS} - _COLOURS.keys()
"""Peers that stand in tables alone, so that lines can be told apart."""
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 3", "10 4", "4 4", "12 3 3 3")
_STYLE = """<style>
text { font: 12px sans-serif; fill: #333 }
.title { font-size: 13px; font-weight: bold }
.grid { stroke: #8884; stroke-width: 1 }
.one { stroke: #888; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
</style>"""


def picture(rows: Sequence[Row], title: str) -> str:
    """Return the picture of rows of one device, causal and of one shape, as SVG.

    The scale of a mode begins where its smallest ratio is, or at 1/16.

    A row without a ratio to the baseline is left out, and so are most peers. A length that several
    rows of a variant, mode and dtype have is drawn once, from the first of them. A mode that was
    not measured in any dtype has no panels, and a dtype that was not measured in any mode has none.
    """
    drawn = [
        row
        for row in rows
        if row.vs_no_bias is not None
        and row.answers == "alibi"
        and row.variant not in _PEERS_LEFT_OUT
    ]
    lengths = sorted({row.kv_len for row in drawn})
    modes = [mode for mode in MODES if any(mode_of(row) == mode for row in drawn)]
    dtypes = [dtype for dtype in DTYPES if any(row.dtype == dtype for row in drawn)]
    width = max(_LEFT + len(dtypes) * (_WIDTH + _NAMES) + _GAP, _LEAST_WIDTH)
    height = _TOP - 24 + len(modes) * (_HEIGHT + _FOOT)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{title}</title>",
        _STYLE,
        _text(_LEFT, 18, title, "start", "title"),
        _text(_LEFT, 36, "time over bias-free SDPA's (less is faster) against keys", "start"),
    ]
    for down, mode in enumerate(modes):
        low = _low([row for row in drawn if mode_of(row) == mode])
        for across, dtype in enumerate(dtypes):
            left = _LEFT + across * (_WIDTH + _NAMES + _GAP / 2)
            own = [row for row in drawn if (mode_of(row), row.dtype) == (mode, dtype)]
            lines.append(f'<g transform="translate(0 {down * (_HEIGHT + _FOOT)})">')
            scale = _Scale(lengths, left, low)
            lines += [*_panel(own, f"{MODES[mode]}, {dtype}", scale), "</g>"]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _low(rows: Sequence[Row]) -> float:
    """Return the power of 2 at which a scale begins."""
    ratios = [row.vs_no_bias or 1.0 for row in rows]
    return min([_USUAL_LOW, *(2.0 ** math.floor(math.log2(ratio)) for ratio in ratios)])


class _Scale(NamedTuple):
    """Where lengths and ratios lie in a panel that begins at `left` and goes down to `low`."""

    lengths: Sequence[int]
    left: float
    low: float

    def across(self, length: int) -> float:
        first, last = math.log2(self.lengths[0]), math.log2(self.lengths[-1])
        return self.left + _WIDTH * (math.log2(length) - first) / max(last - first, 1e-9)

    def down(self, ratio: float) -> float:
        low, high = math.log2(self.low), math.log2(_HIGH)
        share = (math.log2(min(max(ratio, self.low), _HIGH)) - low) / (high - low)
        return _TOP + _HEIGHT * (1 - share)


def _panel(rows: Sequence[Row], title: str, scale: _Scale) -> Iterator[str]:
    left = scale.left
    yield _text(left, _TOP - 10, title if rows else f"{title}: not measured", "start", "title")
    if not rows:
        return
    yield from _grid(scale)
    by_variant = by(lambda row: row.variant, rows)
    ends: dict[str, tuple[float, float]] = {}
    for name, variant_rows in by_variant.items():
        ratios = {row.kv_len: row.vs_no_bias or 1.0 for row in reversed(variant_rows)}
        points = [(scale.across(length), scale.down(ratios[length])) for length in sorted(ratios)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        stroke = f'stroke="{_colour(name)}" stroke-width="2" stroke-dasharray="{_dash(name)}"'
        yield f'<path d="{path}" fill="none" {stroke}/>'
        ends[name] = points[-1]
    for name, down in _spread_names(ends).items():
        x, y = left + _WIDTH + 8, down + 4
        yield f'<text x="{x:.1f}" y="{y:.1f}" style="fill: {_colour(name)}">{name}</text>'


def _colour(name: str) -> str:
    return _COLOURS.get(name, "#777777")


def _dash(name: str) -> str:
    place = list(_COLOURS).index(name) if name in _COLOURS else len(_COLOURS)
    return _DASHES[place % len(_DASHES)]


def _grid(scale: _Scale) -> Iterator[str]:
    lengths, left, bottom = scale.lengths, scale.left, _TOP + _HEIGHT
    for power in range(round(math.log2(scale.low)), round(math.log2(_HIGH)) + 1):
        down, kind = scale.down(2.0**power), "one" if power == 0 else "grid"
        yield f'<path class="{kind}" d="M{left:.1f} {down:.1f}h{_WIDTH}"/>'
        words = f"{2**power}x" if power >= 0 else f"1/{2**-power}x"
        yield _text(left - 6, down + 4, words, "end")
    for length in lengths:
        across = scale.across(length)
        yield f'<path class="grid" d="M{across:.1f} {_TOP}V{bottom}"/>'
    powers = [length for length in lengths if length & (length - 1) == 0]
    for length in powers[:: 1 + len(powers) // 8]:
        yield _text(scale.across(length), bottom + 18, str(length), "middle")


def _spread_names(ends: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Return where each name stands: at its line's end, and 14 apart from the next."""
    ordered = sorted(ends, key=lambda name: ends[name][1])
    places = {name: ends[name][1] for name in ordered}
    for above, below in pairwise(ordered):
        places[below] = max(places[below], places[above] + 14)
    return places


def _text(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{classes}>{words}</text>'
