"""Whether a step may come from another unit: runs of one hardware key may be of several devices.

Where units have runs on both sides of a step, these runs, each beside its unit's mean, show whether
the unit or the code moved the time. Where none has, units are the replicates in place of runs,
because equal devices differ by some percent: one unit before and another after can't be told from a
change of the code. Where each run has a unit of its own, as on hosted runners, units and runs are
the same, and explain nothing.
"""

import statistics
from collections import Counter
from collections.abc import Sequence

from reports.history.change_points import chance, step_effect
from reports.history.series import SeriesPoint

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
    shared = sides[0].keys() & sides[1].keys()
    level = {unit: statistics.fmean(sides[0][unit] + sides[1][unit]) for unit in shared}
    logs = [
        [log - level[unit] for unit in shared for log in side[unit]]
        if shared
        else [statistics.fmean(of_unit) for of_unit in side.values()]
        for side in sides
    ]
    rest = step_effect(*logs)
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


def _name(side: Sequence[SeriesPoint], other: Sequence[SeriesPoint]) -> str:
    """Return the units that have a larger share of one side's runs than of the other side's."""
    own, others = (Counter(map(_unit, points)) for points in (side, other))
    more = [unit for unit in own if own[unit] * len(other) > others[unit] * len(side)]
    return " or ".join(more) if len(more) <= 2 else f"one of {len(more)}"
