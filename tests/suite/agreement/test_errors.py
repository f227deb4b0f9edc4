"""Judging: the portions' findings, put together, are what one portion would have found."""

import math
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.agreement.errors import ErrorMeasure, WorstError, worst_of
from tests.effort import examples

EPS = 1e-6


def slices(length: int, step: int) -> Iterable[slice]:
    """Yield a length in steps."""
    return (slice(first, first + step) for first in range(0, length, step))


@settings(max_examples=examples(100))
@given(
    name=st.sampled_from(["out", "dq", "dk", "dv"]),
    steps=st.tuples(st.integers(1, 3), st.integers(1, 5)),
    seed=st.integers(0, 1 << 20),
    planted=st.sampled_from([None, math.nan, math.inf]),
    unheld=st.sampled_from([None, math.nan]),
)
def test_findings_of_portions_put_together_are_those_of_the_whole(
    name: str, steps: tuple[int, int], seed: int, planted: float | None, unheld: float | None
) -> None:
    generator = torch.Generator().manual_seed(seed)
    truth, yardstick, answer = torch.randn(3, 3, 5, 20, 4, generator=generator).double()
    yardstick, answer = truth + EPS * yardstick, truth + EPS * answer
    answer[seed % 3, seed % 5, seed % 20, 0] *= 1.0 if planted is None else planted
    yardstick[seed % 2, seed % 4, 0, 0] *= 1.0 if unheld is None else unheld
    places = torch.arange(100, 120)

    def worst_errors(entries: slice, heads: slice) -> list[WorstError]:
        first = (entries.start, heads.start)
        parts = (truth[entries, heads], yardstick[entries, heads])
        measure = ErrorMeasure(name, *parts, first, places, least_size=EPS)
        return list(measure.worst(answer[entries, heads]))

    whole = worst_errors(slice(0, 3), slice(0, 5))
    entries_step = steps[0] if steps[1] == 5 else 1  # portions come in order of entry and head
    portions = [worst_errors(a, b) for a in slices(3, entries_step) for b in slices(5, steps[1])]
    for one, parts in zip(whole, zip(*portions, strict=True), strict=True):
        together = worst_of(parts)
        assert together.where == one.where
        assert together.error == pytest.approx(one.error, rel=1e-12, nan_ok=True)
        assert together.formula_error == pytest.approx(one.formula_error, rel=1e-12, nan_ok=True)
