"""Rows of a file of lengths: bits per byte of a test at a length, by seed, and their spread."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from suite.quality.design import LengthTest
from suite.quality.methods import CHANGE_TITLES, METHOD_BY_NAME, PositionMethod
from suite.quality.record import LengthsHeader, Quality
from suite.quality.results import LengthsResults


class Bits(NamedTuple):
    """Bits per byte by seed; paired differences are bits too."""

    by_seed: dict[int, float]

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return math.fsum(self.by_seed.values()) / len(self.by_seed)

    @property
    def low(self) -> float:
        """The least of the seeds."""
        return min(self.by_seed.values())

    @property
    def high(self) -> float:
        """The most of the seeds."""
        return max(self.by_seed.values())

    @property
    def half_range(self) -> float | None:
        """Half of the distance between the least and the most; None for one seed."""
        return (self.high - self.low) / 2 if len(self.by_seed) > 1 else None

    def less(self, other: "Bits") -> "Bits | None":
        """Return the differences from another's, seed by seed; None where they share no seed."""
        shared = self.by_seed.keys() & other.by_seed.keys()
        differences = {seed: self.by_seed[seed] - other.by_seed[seed] for seed in sorted(shared)}
        return Bits(differences) if differences else None


class QualityRow(NamedTuple):
    """A test of a method at a length, by both measures; `name` has the method's title in it."""

    name: str
    method: PositionMethod
    test: LengthTest
    length: int
    by_windows: Bits
    on_same_targets: Bits


def rows_of(results: LengthsResults) -> list[QualityRow]:
    """Return the rows of a file, in the order of its design; tests that are missing have none."""
    header = results.header
    by_place: dict[tuple[str, LengthTest, int], list[Quality]] = {}
    for quality in results.qualities:
        by_place.setdefault((quality.method, quality.test, quality.length), []).append(quality)
    places = (
        (METHOD_BY_NAME[name], test, length)
        for name in header.design.methods
        for test in header.design.tests(METHOD_BY_NAME[name])
        for length in header.design.lengths
    )
    return [
        _row(method, test, length, by_place[method.name, test, length], header)
        for method, test, length in places
        if (method.name, test, length) in by_place
    ]


def title_of(test: LengthTest, tuned_len: int) -> str:
    """Return what a test is called under its method's name; empty for the method itself."""
    words = [] if test.change == "none" else [CHANGE_TITLES[test.change]]
    if test.tuned:
        words = [f"tuned at {tuned_len}", *words]
    return ", ".join(words)


def _row(
    method: PositionMethod,
    test: LengthTest,
    length: int,
    qualities: Sequence[Quality],
    header: LengthsHeader,
) -> QualityRow:
    windows = {q.seed: _mean(q.by_windows, header.window_bytes) for q in qualities}
    targets = {q.seed: _mean(q.on_same_targets, header.target_bytes) for q in qualities}
    title = title_of(test, header.design.tuned_len)
    name = f"{method.title}, {title}" if title else method.title
    return QualityRow(name, method, test, length, Bits(windows), Bits(targets))


def _mean(bits: Sequence[float], sizes: Sequence[int]) -> float:
    """Return the bits per byte of all windows together; each counts by its bytes."""
    pairs = zip(bits, sizes, strict=True)
    return math.fsum(each * size for each, size in pairs) / sum(sizes)
