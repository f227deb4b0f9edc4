"""Quality against cost at 1x, 4x and 16x the trained length, as SVG.

A panel for each length: across, the time of a prefill's attention over bias-free SDPA's; down, bits
per byte of the same targets, the least at the top, with the range over seeds. SVG by hand, because
points need no library.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from reports.quality.costs import AttentionCost
from reports.quality.rows import QualityRow
from suite.quality.design import LengthTest

MULTIPLES = (1, 4, 16)
SCALED = LengthTest("yarn", tuned=False)
AS_TRAINED = LengthTest("none", tuned=False)
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP, _FOOT = 230, 240, 52, 64, 56, 44
_COLOURS = {
    "ALiBi": "#e4572e",
    "ALiBi and RoPE": "#a05fb5",
    "RoPE": "#2e86ab",
    "RoPE, YaRN": "#3aa6a0",
    "T5's bias": "#c98a0c",
    "sinusoidal": "#3d9a5f",
    "none": "#8a8a8a",
}
_STYLE = """<style>
text { font: 12px sans-serif; fill: #333 }
.title { font-size: 13px; font-weight: bold }
.grid { stroke: #8884; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
</style>"""


class PlottedMethod(NamedTuple):
    """A method in a panel: its cost, its bits per byte, and their half range."""

    name: str
    ratio: float
    bits: float
    half_range: float


def picture(rows: Sequence[QualityRow], costs: Sequence[AttentionCost], trained_len: int) -> str:
    """Return the picture; methods without a cost at a length are left out of its panel."""
    panels = {each: places_at(rows, costs, each * trained_len, trained_len) for each in MULTIPLES}
    panels = {multiple: places for multiple, places in panels.items() if places}
    every = [place for places in panels.values() for place in places]
    width = _LEFT + len(panels) * (_WIDTH + _GAP)
    height = _TOP + _HEIGHT + _FOOT
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    title = f"Quality against cost, trained at {trained_len} tokens"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{title}</title>",
        _STYLE,
        _text(_LEFT, 18, title, "start", "title"),
        _text(
            _LEFT,
            36,
            "up: fewer bits per byte of the same targets; left: less time of a prefill's attention",
            "start",
        ),
    ]
    if every:
        scale = _QualityScale.around(every)
        for number, (multiple, places) in enumerate(panels.items()):
            lines += _panel(places, multiple, _LEFT + number * (_WIDTH + _GAP), scale)
    return "\n".join([*lines, "</svg>"]) + "\n"


def places_at(
    rows: Sequence[QualityRow], costs: Sequence[AttentionCost], length: int, trained_len: int
) -> list[PlottedMethod]:
    """Return the methods that have bits and a prefill's cost at a length.

    YaRN costs what RoPE does, and is drawn beyond the trained length alone: up to it it is RoPE.
    """
    tests = (AS_TRAINED, SCALED) if length > trained_len else (AS_TRAINED,)
    ratios = {
        cost.method: cost.ratio for cost in costs if (cost.mode, cost.length) == ("forward", length)
    }
    return [
        PlottedMethod(
            row.method.title + (", YaRN" if row.test == SCALED else ""),
            ratios[row.method.name],
            row.on_same_targets.mean,
            row.on_same_targets.half_range or 0.0,
        )
        for row in rows
        if row.length == length and row.test in tests and row.method.name in ratios
    ]


class _QualityScale(NamedTuple):
    """The ranges that all panels share: of ratios, logarithmic, and of bits."""

    low_ratio: float
    high_ratio: float
    low_bits: float
    high_bits: float

    @classmethod
    def around(cls, places: Sequence[PlottedMethod]) -> "_QualityScale":
        ratios, bits = [p.ratio for p in places], [p.bits for p in places]
        room = 0.06 * (max(bits) - min(bits)) + 0.01
        return cls(min(ratios) / 1.3, max(ratios) * 1.3, min(bits) - room, max(bits) + room)

    def across(self, ratio: float) -> float:
        low, high = math.log(self.low_ratio), math.log(self.high_ratio)
        return _WIDTH * (math.log(ratio) - low) / (high - low)

    def down(self, bits: float) -> float:
        share = (bits - self.low_bits) / (self.high_bits - self.low_bits)
        return _TOP + _HEIGHT * share


def _panel(
    places: Sequence[PlottedMethod], multiple: int, left: float, scale: _QualityScale
) -> Iterator[str]:
    bottom = _TOP + _HEIGHT
    frame = f'x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}"'
    yield f'<rect class="grid" {frame} fill="none"/>'
    yield _text(left, _TOP - 8, f"{multiple}x the trained length", "start", "title")
    for ratio in _ratios(scale):
        x = left + scale.across(ratio)
        yield f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>'
        yield _text(x, bottom + 18, f"{ratio:g}x", "middle")
    step = 0.1 if scale.high_bits - scale.low_bits > 0.25 else 0.02
    for number in range(math.ceil(scale.low_bits / step), math.floor(scale.high_bits / step) + 1):
        y = scale.down(number * step)
        yield f'<path class="grid" d="M{left} {y:.1f}h{_WIDTH}"/>'
        yield _text(left - 6, y + 4, f"{number * step:.2f}", "end")
    labels = _apart({place.name: scale.down(place.bits) for place in places})
    for place in places:
        x, y = left + scale.across(place.ratio), scale.down(place.bits)
        colour = _COLOURS.get(place.name, "#777777")
        top, end = (scale.down(place.bits + sign * place.half_range) for sign in (-1, 1))
        yield f'<path d="M{x:.1f} {top:.1f}V{end:.1f}" stroke="{colour}" stroke-width="2"/>'
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
        is_right = scale.across(place.ratio) > _WIDTH * 0.55
        at, anchor = (x - 8, "end") if is_right else (x + 8, "start")
        style = f'style="fill: {colour}"'
        yield (
            f'<text x="{at:.1f}" y="{labels[place.name] + 4:.1f}" text-anchor="{anchor}" {style}>'
            f"{place.name}</text>"
        )


def _ratios(scale: _QualityScale) -> list[float]:
    return [r for r in (0.125, 0.25, 0.5, 1, 2, 4, 8) if scale.low_ratio <= r <= scale.high_ratio]


def _apart(downs: Mapping[str, float]) -> dict[str, float]:
    """Return where each name stands: at its point, and 13 under the name above at least."""
    places: dict[str, float] = {}
    last = -math.inf
    for name in sorted(downs, key=lambda name: downs[name]):
        last = max(downs[name], last + 13)
        places[name] = last
    return places


def _text(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{classes}>{words}</text>'
