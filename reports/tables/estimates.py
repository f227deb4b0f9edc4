"""Estimates with intervals over passes.

Passes are the replicates: each runs in fresh processes. Samples inside one process are not.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from suite.clocks.series import SeriesName, Turns
from suite.records.record import Time

PASSES_FOR_INTERVAL = 3
LEVEL = 0.95


class Estimate(NamedTuple):
    """A positive figure with its interval, or None for the interval below three passes."""

    value: float
    interval: tuple[float, float] | None


def mean_over_passes(logs: Sequence[float], level: float = LEVEL) -> Estimate:
    """Return the geometric mean over passes, with a t-interval of `level`.

    `logs` holds the natural logarithm of one figure a pass. It must not be empty.
    """
    centre = statistics.fmean(logs)
    if len(logs) < PASSES_FOR_INTERVAL:
        return Estimate(math.exp(centre), None)
    half = _t_quantile(len(logs) - 1, level) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Estimate(math.exp(centre), (math.exp(centre - half), math.exp(centre + half)))


def log_median_ms(time: Time) -> float:
    """Return the natural logarithm of one race's median time of a call, in milliseconds."""
    return math.log(_median_ms(time.turns) / time.calls_per_sample)


def series_ms(times: Sequence[Time], name: SeriesName) -> float | None:
    """Return a series' median of a call in ms, as the geometric mean over races.

    None if no race has it, or if its clock was too coarse to read more than 0.
    """
    medians = [
        _median_ms(turns) / time.calls_per_sample
        for time in times
        for series, turns in ((time.cost, time.turns), *((o.name, o.turns) for o in time.others))
        if series == name
    ]
    return statistics.geometric_mean(medians) if medians and all(medians) else None


def _median_ms(turns: Turns) -> float:
    return statistics.median(sample for _, samples in turns for sample in samples) / 1e6


def log_ratio(time: Time, base: Time) -> float | None:
    """Return log(time / base) of one race: the median over the rounds in which both took a turn.

    None if the two are from different races or share no round.
    """
    if time.race != base.race:
        return None
    of_base = dict(base.turns)
    calls = math.log(base.calls_per_sample / time.calls_per_sample)
    ratios = [
        math.log(statistics.median(turn) / statistics.median(of_base[number]))
        for number, turn in time.turns
        if number in of_base
    ]
    return statistics.median(ratios) + calls if ratios else None


def _t_quantile(freedom: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
