"""The reach of each head as a picture: SVG by hand, because a plot needs no library for bars."""

import math
from collections.abc import Iterator

HEADS = (8, 32)
BITS = {"bfloat16": 8, "float32": 24}
_LEFT, _WIDTH, _ROW, _TOP, _FARTHEST = 70, 640, 12, 64, 8192
_FILL = {"bfloat16": "#3b6ea5", "float32": "#b9d0e8"}


def reach(slope: float, bits: int) -> float:
    """Return the distance at which exp(-slope * distance) is 2^-bits."""
    return bits * math.log(2) / slope


def slopes(heads: int) -> list[float]:
    """Return the standard slopes of a number of heads that is a power of two."""
    return [2.0 ** (-8 * (head + 1) / heads) for head in range(heads)]


def picture() -> str:
    """Return the picture as SVG, for each number of heads one panel below the other."""
    panels: list[str] = []
    top = _TOP
    for heads in HEADS:
        panels += _panel(heads, top)
        top += heads * _ROW + 70
    size = f'width="{_LEFT + _WIDTH + 60}" height="{top - 30}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        *_legend(),
        *panels,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _legend() -> Iterator[str]:
    yield _text(
        _LEFT, 18, "Keys back from the query until the bias alone has made a weight", "start"
    )
    for place, (dtype, bits) in enumerate(BITS.items()):
        left = _LEFT + 130 * place
        yield f'<rect x="{left}" y="25" width="10" height="10" fill="{_FILL[dtype]}"/>'
        yield _text(left + 15, 34, f"2^-{bits} ({dtype})", "start")


def _panel(heads: int, top: int) -> Iterator[str]:
    bottom = top + heads * _ROW
    yield _text(_LEFT - 8, top - 6, "slope", "end")
    yield _text(_LEFT, top - 6, f"{heads} heads", "start")
    distance = 1
    while distance <= _FARTHEST:
        at = _across(distance)
        yield f'<path d="M{at:.1f} {top}V{bottom}" stroke="#ddd"/>'
        yield _text(at, bottom + 14, str(distance), "middle")
        distance *= 4 if distance < 4096 else 2
    yield _text(_LEFT + _WIDTH / 2, bottom + 30, "keys back", "middle")
    for head, slope in enumerate(slopes(heads)):
        row = top + head * _ROW
        for dtype in reversed(BITS):
            far = _across(reach(slope, BITS[dtype]))
            box = f'x="{_LEFT}" y="{row + 2}" width="{far - _LEFT:.1f}" height="{_ROW - 4}"'
            yield f'<rect {box} fill="{_FILL[dtype]}"/>'
        if head % (heads // 8) == heads // 8 - 1:
            yield _text(_LEFT - 8, row + 10, f"2^-{8 * (head + 1) // heads}", "end")


def _across(distance: float) -> float:
    return _LEFT + _WIDTH * math.log(distance) / math.log(_FARTHEST)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{words}</text>'
