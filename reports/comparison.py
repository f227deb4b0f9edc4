"""A comparison: what was compared, and the line of each cell with its verdict."""

from typing import Literal

import msgspec

Verdict = Literal["slower", "faster", "same", "inconclusive", "missing", "wrong"]


class Line(msgspec.Struct, kw_only=True):
    """One cell of a comparison; ratios are head over base.

    `heavier` means that a call's peak or what the variant keeps grew by over 1% and 64 KiB,
    `less_exact` that its error more than doubled.
    """

    case: str
    variant: str
    verdict: Verdict
    ratio: float | None = None
    ratio_ci: tuple[float, float] | None = None
    replicates: int = 0
    memory_ratio: float | None = None
    heavier: bool = False
    error_ratio: float | None = None
    less_exact: bool = False
    reason: str | None = None

    @property
    def regressed(self) -> bool:
        """Whether a CI should fail for it."""
        return self.verdict in {"slower", "missing", "wrong"} or self.heavier or self.less_exact


class Comparison(msgspec.Struct):
    """What was compared, and its cells."""

    base: str
    head: str
    notes: list[str]
    lines: list[Line]

    @property
    def regressed(self) -> bool:
        """Whether any cell did."""
        return any(line.regressed for line in self.lines)
