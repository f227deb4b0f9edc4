"""What two files come to, for tests of comparisons: lines, as strict JSON, or a refusal."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from reports.verdicts.compare_runs import compare_runs
from reports.verdicts.comparison import Comparison, Line
from reports.verdicts.verdict_table import render
from suite.records.store import Results, StoreError

GATE = 0.01
STEADY = (1.00, 1.01, 0.99)


def times(factor: float, passes: Sequence[float] = STEADY) -> tuple[float, ...]:
    """Return passes that took so many times as long."""
    return tuple(factor * each for each in passes)


def compare(base: Results, head: Results, **options: Any) -> Comparison:
    """Compare two files and see that what programs get of it is strict JSON."""
    found = compare_runs(base, head, GATE, **options)
    assert_strict_json(found)
    return found


def refusal(base: Results, head: Results, **options: Any) -> str:
    """Return why two files can't be compared, in one line."""
    with pytest.raises(StoreError) as refused:
        compare_runs(base, head, GATE, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def assert_strict_json(comparison: Comparison) -> None:
    """Fail for a NaN or an Infinity, which would be null in JSON, and for any other loss."""
    figures = json.loads(json.dumps(msgspec.to_builtins(comparison), allow_nan=False))
    told = json.loads(render(comparison, "json"))
    assert {name: told[name] for name in figures} == figures


def line_of(comparison: Comparison, variant: str = "eager") -> Line:
    """Return the only line of a variant."""
    (line,) = (one for one in comparison.lines if one.variant == variant)
    return line
