"""Whether a step may come from another unit: runs of one hardware key may be of several devices.

Where units have runs on both sides of a step, the step inside of these units shows whether the unit
or the code moved the time. Where none has, units are the replicates in place of runs, because equal
devices differ by some percent: one unit before and another after can't be told from a change of the
code. Where each run has a unit of its own, as on hosted runners, units and runs are the same, and
explain nothing.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence

from reports.history.change_points import chance, step_effect
from reports.history.series import SeriesPoint
from reports.verdicts.moderated_t import Effect

CHANCE_OF_UNITS = 0.05
"""The p-value up to which more than the units moved."""


def other_unit(before: Sequence[SeriesPoint], after: Sequence[SeriesPoint]) -> str:
    """Return in words that another unit may have made a step between runs; empty if it did not.

    It did not where all runs are of one unit. Where a run's unit is not known, nothing is said.
    """
    units = [_unit(point) for point in (*before, *after)]
    if "" in units or len(set(units)) == 1:
        return ""
    sides = _by_unit(before), _by_unit(after)
    shared = [(sides[0][unit], sides[1][unit]) for unit in sides[0].keys() & sides[1].keys()]
    rest = (
        _effect_inside(shared)
        if shared
        else step_effect(*([statistics.fmean(logs) for logs in side.values()] for side in sides))
    )
    whole = step_effect(*([point.log_ms for point in side] for side in (before, after)))
    if chance(rest) <= CHANCE_OF_UNITS and rest.estimate * whole.estimate > 0:
        return ""
    return f"another unit of this hardware: {_name(after, before)} and not {_name(before, after)}"


def _unit(point: SeriesPoint) -> str:
    return point.run.header.circumstances.unit


def _by_unit(points: Sequence[SeriesPoint]) -> dict[str, list[float]]:
    logs: dict[str, list[float]] = {}
    for point in points:
        logs.setdefault(_unit(point), []).append(point.log_ms)
    return logs


def _effect_inside(units: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Effect:
    """Return the step inside of units, given as the logarithms (before, after) of each.

    It is that of least squares with a level for each unit. With a single run on a side the error is
    infinite.
    """
    steps = [statistics.fmean(after) - statistics.fmean(before) for before, after in units]
    weights = [1 / (1 / len(before) + 1 / len(after)) for before, after in units]
    estimate = statistics.fmean(steps, weights)
    if min(sum(map(len, side)) for side in zip(*units, strict=True)) < 2:
        return Effect(estimate, math.inf, 0.0)
    freedom = sum(len(before) + len(after) - 1 for before, after in units) - 1
    squares = sum(len(side) * statistics.pvariance(side) for unit in units for side in unit)
    squares += sum(
        weight * (step - estimate) ** 2 for weight, step in zip(weights, steps, strict=True)
    )
    return Effect(estimate, math.sqrt(squares / freedom / sum(weights)), float(freedom))


def _name(side: Sequence[SeriesPoint], other: Sequence[SeriesPoint]) -> str:
    """Return the units that have a larger share of one side's runs than of the other side's."""
    own, others = (Counter(map(_unit, points)) for points in (side, other))
    more = [unit for unit in own if own[unit] * len(other) > others[unit] * len(side)]
    return " or ".join(more) if len(more) <= 2 else f"one of {len(more)}"
