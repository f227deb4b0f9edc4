"""The picture of bits by length: a line a method in each panel, and fewer bits lie lower."""

import re

from reports.quality.length_picture import length_picture
from reports.quality.rows import rows_of
from reports.quality.svg import INKS
from tests.quality_files import results, rising_bits

PICTURE = length_picture(rows_of(results(bits_of=rising_bits)), 128)


def places(name: str) -> list[float]:
    """Return how far down each point of a method's lines is: four of each panel."""
    colour = INKS[name].colour
    lines = re.findall(rf'<path d="M([^"]+)" stroke="{colour}" [^>]+dasharray', PICTURE)
    return [float(point.split()[1]) for line in lines for point in line.split("L")]


def test_every_method_has_a_line_in_both_panels_and_its_name_beside_it() -> None:
    assert PICTURE.count("stroke-dasharray") == 2 * len(INKS)
    assert all(PICTURE.count(f">{name}</text>") == 2 for name in INKS)
    assert len(places("RoPE")) == 8


def test_fewer_bits_lie_lower() -> None:
    assert places("RoPE")[:4] == sorted(places("RoPE")[:4], reverse=True)
    assert places("ALiBi")[3] > places("RoPE")[3]


def test_bars_show_the_range_over_seeds() -> None:
    colour = INKS["RoPE"].colour
    bars = re.findall(rf'<path d="M[\d.]+ ([\d.]+)V([\d.]+)" stroke="{colour}"', PICTURE)
    lengths = [float(low) - float(high) for high, low in bars]
    assert len(lengths) == 8
    assert min(lengths) > 0
    assert lengths[:4] == sorted(lengths[:4])


def test_the_panels_are_named_by_their_measures() -> None:
    assert "the same last 128 tokens" in PICTURE
    assert "all tokens, in windows of the length" in PICTURE
