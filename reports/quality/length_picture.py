"""Bits per byte against the tested length, as SVG: a line a method, and a panel for each measure.

Bars are the range over seeds. The panels share their scale of bits.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reports.quality.rows import Bits, QualityRow
from reports.quality.svg import INKS, bit_ticks, drawing, frame, label, spread_names

_WIDTH, _HEIGHT, _LEFT, _TOP, _NAMES, _FOOT = 270, 260, 52, 68, 112, 40
_WORDS = "lower is better; a bar is the range over seeds"


class _MethodLine(NamedTuple):
    """A method's bits by length."""

    name: str
    points: list[tuple[int, Bits]]


class _LengthScale(NamedTuple):
    """The ranges of a picture: of lengths, logarithmic, and of bits."""

    lengths: list[int]
    low_bits: float
    high_bits: float

    def across(self, length: int) -> float:
        first, last = math.log(self.lengths[0]), math.log(self.lengths[-1])
        return 10 + (_WIDTH - 20) * (math.log(length) - first) / ((last - first) or 1.0)

    def height(self, bits: float) -> float:
        """Return the y of bits; more bits lie higher."""
        share = (bits - self.low_bits) / (self.high_bits - self.low_bits)
        return _TOP + _HEIGHT * (1 - share)


def length_picture(rows: Sequence[QualityRow], trained_len: int) -> str:
    """Return the picture of the rows that have an ink, of which there is at least one."""
    drawn = [row for row in rows if row.name in INKS]
    every = [bits for row in drawn for bits in (row.by_windows, row.on_same_targets)]
    low, high = min(bits.low for bits in every), max(bits.high for bits in every)
    room = 0.04 * (high - low) + 0.01
    scale = _LengthScale(sorted({row.length for row in drawn}), low - room, high + room)
    panels = {
        f"the same last {trained_len} tokens": [
            (r.name, r.length, r.on_same_targets) for r in drawn
        ],
        "all tokens, in windows of the length": [(r.name, r.length, r.by_windows) for r in drawn],
    }
    shapes: list[str] = []
    for number, (title, places) in enumerate(panels.items()):
        left = _LEFT + number * (_WIDTH + _NAMES + _LEFT)
        lines = [
            _MethodLine(name, [(length, bits) for own, length, bits in places if own == name])
            for name in dict.fromkeys(name for name, _, _ in places)
        ]
        shapes += _panel(title, lines, left, scale)
    title = f"Bits per byte against tested length in tokens, trained at {trained_len}"
    width = len(panels) * (_LEFT + _WIDTH + _NAMES)
    return drawing(title, _WORDS, width, _TOP + _HEIGHT + _FOOT, shapes)


def _panel(
    title: str, lines: Sequence[_MethodLine], left: float, scale: _LengthScale
) -> Iterator[str]:
    bottom = _TOP + _HEIGHT
    yield frame(left, _TOP, _WIDTH, _HEIGHT)
    yield label(left, _TOP - 8, title, "start", kind="title")
    for length in scale.lengths:
        yield label(left + scale.across(length), bottom + 18, f"{length}", "middle")
    for tick in bit_ticks(scale.low_bits, scale.high_bits):
        y = scale.height(tick)
        yield f'<path class="grid" d="M{left} {y:.1f}h{_WIDTH}"/>'
        yield label(left - 6, y + 4, f"{tick:.2f}", "end")
    ends = {line.name: scale.height(line.points[-1][1].mean) for line in lines}
    names = spread_names(ends, bottom)
    for line in lines:
        colour, dash = INKS[line.name]
        points = [(left + scale.across(length), bits) for length, bits in line.points]
        way = "L".join(f"{x:.1f} {scale.height(bits.mean):.1f}" for x, bits in points)
        stroke = f'stroke="{colour}" stroke-width="1.8"'
        yield f'<path d="M{way}" {stroke} stroke-dasharray="{dash}" fill="none"/>'
        for x, bits in points:
            low, high = scale.height(bits.low), scale.height(bits.high)
            yield f'<path d="M{x:.1f} {high:.1f}V{low:.1f}" {stroke}/>'
            yield f'<circle cx="{x:.1f}" cy="{scale.height(bits.mean):.1f}" r="3" fill="{colour}"/>'
        yield label(left + _WIDTH + 6, names[line.name] + 4, line.name, "start", colour=colour)
