"""Where each method stands at a length: its bits per byte beside what its attention costs."""

from collections.abc import Sequence
from typing import NamedTuple

from reports.quality.costs import AttentionCost
from reports.quality.rows import Bits, QualityRow
from suite.quality.design import LengthTest

MULTIPLES = (1, 4, 16)
"""The lengths that are shown, over the trained one."""

AS_TRAINED = LengthTest("none", tuned=False)
SCALED = LengthTest("yarn", tuned=False)


class MethodPlace(NamedTuple):
    """A method at a length: its name, a prefill's cost, and the bits of the same targets."""

    name: str
    cost: AttentionCost
    bits: Bits


def places_at(
    rows: Sequence[QualityRow], costs: Sequence[AttentionCost], length: int, trained_len: int
) -> list[MethodPlace]:
    """Return the methods that have bits and a prefill's cost at a length.

    YaRN costs what RoPE does, and has a place beyond the trained length alone: up to it it is RoPE.
    """
    tests = (AS_TRAINED, SCALED) if length > trained_len else (AS_TRAINED,)
    prefills = {
        cost.method: cost for cost in costs if (cost.mode, cost.length) == ("forward", length)
    }
    return [
        MethodPlace(row.name, prefills[row.method.name], row.on_same_targets)
        for row in rows
        if row.length == length and row.test in tests and row.method.name in prefills
    ]
