"""Files of lengths with invented bits, for tests of what reads them."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from suite.conditions.policy import Circumstances
from suite.quality.design import DEFAULT, Design, LengthTest
from suite.quality.record import SCHEMA, LengthsHeader, Quality, QualityRecord
from suite.quality.results import LengthsResults
from suite.quality.text.summary import TextSummary
from variants.host.hardware import Hardware, this_cpu

WINDOWS = 4

BitsOf = Callable[[str, LengthTest, int, int], float]
"""(method, test, length, seed) -> bits per byte of each window."""


def header(design: Design = DEFAULT, hardware: Hardware | None = None) -> LengthsHeader:
    """Return a header of a text of four windows, the first of which has three times the bytes."""
    return LengthsHeader(
        schema=SCHEMA,
        started="2026-11-30T00:00:00+00:00",
        argv=("lengths",),
        device="cpu",
        hardware=hardware or this_cpu(),
        software={"torch": "2.13.0"},
        circumstances=Circumstances("3.11", "6", False, "unknown", 0.0, "0" * 40, False),
        design=design,
        text_name="sympy 1.14.0, networkx 3.6.1, mpmath 1.3.0",
        text=TextSummary(40, 4, 10_000, 4_000, WINDOWS, 300, 2.5, "0" * 16),
        window_bytes=(300, 100, 100, 100),
        target_bytes=(30, 10, 10, 10),
    )


def flat(method: str, test: LengthTest, length: int, seed: int) -> float:
    """Return the bits of a model that is as good at every length, a hundredth worse by seed."""
    return 1.5 + seed / 100


def rising_bits(method: str, test: LengthTest, length: int, seed: int) -> float:
    """Return bits that rise by 0.001 with each doubling of the length for ALiBi, else by 0.1.

    They rise by a hundredth more with each seed.
    """
    by_doubling = 0.001 if method == "alibi" else 0.1 + seed / 100
    return 1.5 + seed / 100 + by_doubling * math.log2(length / 128)


def qualities(design: Design = DEFAULT, bits_of: BitsOf = flat) -> list[Quality]:
    """Return all tests of a design; every window has the same bits."""
    return [
        Quality(
            method.name,
            seed,
            *test,
            length,
            (bits_of(method.name, test, length, seed),) * WINDOWS,
            (bits_of(method.name, test, length, seed) + 0.1,) * WINDOWS,
            1.0,
        )
        for method, seed in design.models()
        for test in design.tests(method)
        for length in design.lengths
    ]


def write(path: Path, records: Iterable[QualityRecord]) -> Path:
    """Write records as a file of lengths, and return its path."""
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    return path


def results(
    design: Design = DEFAULT, bits_of: BitsOf = flat, name: str = "lengths.jsonl"
) -> LengthsResults:
    """Return a file of all tests of a design, as it is read."""
    return LengthsResults(Path(name), header(design), [], qualities(design, bits_of), [], [])
