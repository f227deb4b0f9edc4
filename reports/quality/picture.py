"""Quality against cost at 1x, 4x and 16x the trained length, as SVG.

A panel for each length: across, the time of a prefill's attention over bias-free SDPA's; upward,
bits per byte of the same targets, with the range over seeds.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reports.quality.costs import AttentionCost
from reports.quality.method_places import MULTIPLES, MethodPlace, places_at
from reports.quality.rows import QualityRow
from reports.quality.svg import INKS, bit_ticks, drawing, frame, label, spread_names

_WIDTH, _HEIGHT, _LEFT, _TOP, _NAMES, _FOOT = 210, 240, 52, 68, 112, 44
_WORDS = "lower: fewer bits per byte of the same targets; left: less time of a prefill's attention"


def picture(rows: Sequence[QualityRow], costs: Sequence[AttentionCost], trained_len: int) -> str:
    """Return the picture; methods without a cost at a length are left out of its panel."""
    panels = {each: places_at(rows, costs, each * trained_len, trained_len) for each in MULTIPLES}
    panels = {multiple: places for multiple, places in panels.items() if places}
    every = [place for places in panels.values() for place in places]
    shapes: list[str] = []
    for number, (multiple, places) in enumerate(panels.items()):
        left = _LEFT + number * (_WIDTH + _NAMES + _LEFT)
        shapes += _panel(places, multiple, left, _QualityScale.around(every))
    title = f"Quality against cost, trained at {trained_len} tokens"
    width = max(2, len(panels)) * (_LEFT + _WIDTH + _NAMES)
    return drawing(title, _WORDS, width, _TOP + _HEIGHT + _FOOT, shapes)


class _QualityScale(NamedTuple):
    """The ranges that all panels share: of ratios, logarithmic, and of bits."""

    low_ratio: float
    high_ratio: float
    low_bits: float
    high_bits: float

    @classmethod
    def around(cls, places: Sequence[MethodPlace]) -> "_QualityScale":
        ratios, bits = [p.cost.ratio for p in places], [p.bits.mean for p in places]
        room = 0.06 * (max(bits) - min(bits)) + 0.01
        return cls(min(ratios) / 1.3, max(ratios) * 1.3, min(bits) - room, max(bits) + room)

    def across(self, ratio: float) -> float:
        low, high = math.log(self.low_ratio), math.log(self.high_ratio)
        return _WIDTH * (math.log(ratio) - low) / (high - low)

    def height(self, bits: float) -> float:
        """Return the y of bits; more bits lie higher."""
        share = (bits - self.low_bits) / (self.high_bits - self.low_bits)
        return _TOP + _HEIGHT * (1 - share)


def _panel(
    places: Sequence[MethodPlace], multiple: int, left: float, scale: _QualityScale
) -> Iterator[str]:
    bottom = _TOP + _HEIGHT
    yield frame(left, _TOP, _WIDTH, _HEIGHT)
    yield label(left, _TOP - 8, f"{multiple}x the trained length", "start", kind="title")
    for ratio in _ratios(scale):
        x = left + scale.across(ratio)
        yield f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>'
        yield label(x, bottom + 18, f"{ratio:g}x", "middle")
    for bits in bit_ticks(scale.low_bits, scale.high_bits):
        y = scale.height(bits)
        yield f'<path class="grid" d="M{left} {y:.1f}h{_WIDTH}"/>'
        yield label(left - 6, y + 4, f"{bits:.2f}", "end")
    heights = {place.name: scale.height(place.bits.mean) for place in places}
    names = spread_names(heights, bottom - 6)
    for place in places:
        yield from _point(place, left, names[place.name], scale)


def _point(place: MethodPlace, left: float, name_y: float, scale: _QualityScale) -> Iterator[str]:
    x, y = left + scale.across(place.cost.ratio), scale.height(place.bits.mean)
    colour = INKS[place.name].colour
    low, high = scale.height(place.bits.low), scale.height(place.bits.high)
    yield f'<path d="M{x:.1f} {high:.1f}V{low:.1f}" stroke="{colour}" stroke-width="2"/>'
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    edge = left + _WIDTH
    way = f"M{x:.1f} {y:.1f}L{edge} {name_y:.1f}"
    yield f'<path d="{way}" stroke="{colour}" stroke-opacity="0.35"/>'
    yield label(edge + 6, name_y + 4, place.name, "start", colour=colour)


def _ratios(scale: _QualityScale) -> list[float]:
    return [r for r in (0.125, 0.25, 0.5, 1, 2, 4, 8) if scale.low_ratio <= r <= scale.high_ratio]
