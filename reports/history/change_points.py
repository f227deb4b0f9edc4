"""Where the times of a cell have steps, by numbers alone: logarithms of times, in order.

ruptures proposes the places: PELT (Killick et al. 2012, J. Am. Stat. Assoc. 107, 1590) with the
cost of a shifted mean. A t-test of the two levels then has to hold for each, because a few
outliers beside each other look like a shift too. docs/verdicts.md has how often both are wrong.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from reports.verdicts.decision import FLOOR
from reports.verdicts.moderated_t import Effect, p_above, p_below
from suite.failures import BadRequest
from variants.host.installation import install_command

FEWEST_RUNS = 6
"""A series of fewer runs has no steps: a side takes three."""

FEWEST_ON_A_SIDE = 3

PENALTY = 8.0
"""What a step costs PELT, in units of the noise's variance times the logarithm of the runs."""

LEVEL = 0.0001
"""The p-value, of both sides together, above which a proposed step is dropped."""

LEAST_NOISE = 0.001
"""Series that seem to spread by less than this share are not believed."""

EDGE_VARIANCES = 6.0
"""A place is plausible if the sum of squares grows by at most this many variances there."""


class NoRuptures(BadRequest):
    """The package that finds change points is missing; the text says how to install it."""


def change_points(logs: Sequence[float], penalty: float = PENALTY) -> list[int]:
    """Return the places at which a new level begins; none for under FEWEST_RUNS figures.

    `penalty` is what a step costs, as PENALTY is. Raises NoRuptures if ruptures is not installed.
    """
    if len(logs) < FEWEST_RUNS:
        return []
    places = _proposals(logs, penalty)
    while places:
        edges = [0, *places, len(logs)]
        chances = [
            chance(step_effect(logs[low:place], logs[place:high]))
            for low, place, high in zip(edges, edges[1:], edges[2:], strict=False)
        ]
        weakest = max(range(len(places)), key=chances.__getitem__)
        if chances[weakest] < LEVEL:
            break
        del places[weakest]
    return places


def is_step(effect: Effect) -> bool:
    """Return whether two levels differ by over 1% and by more than chance explains."""
    return chance(effect) < LEVEL


def chance(effect: Effect) -> float:
    """Return the two-sided p-value of a step; 1 for one of up to 1%, on which nobody acts."""
    if abs(effect.estimate) <= math.log1p(FLOOR):
        return 1.0
    return 2 * min(p_above(effect), p_below(effect))


def step_effect(before: Sequence[float], after: Sequence[float]) -> Effect:
    """Return log(after / before) of two levels, with Student's pooled standard error.

    With a single figure on a side the error is infinite. Pooled, because a new level has few runs:
    their own spread says little (docs/verdicts.md has the counts of both).
    """
    estimate = statistics.fmean(after) - statistics.fmean(before)
    if min(len(before), len(after)) < 2:
        return Effect(estimate, math.inf, 0.0)
    freedom = len(before) + len(after) - 2
    variance = (_squares(before) + _squares(after)) / freedom
    error = math.sqrt(variance * (1 / len(before) + 1 / len(after)))
    return Effect(estimate, error, float(freedom))


def plausible_places(logs: Sequence[float], low: int, high: int) -> list[int]:
    """Return where the one step of logs[low:high] may be, the most likely place first.

    Each side of a place has FEWEST_ON_A_SIDE figures. Others than the best are there if the sum of
    squares around both levels is at most EDGE_VARIANCES variances larger.
    """
    places = range(low + FEWEST_ON_A_SIDE, high - FEWEST_ON_A_SIDE + 1)
    squares = {place: _squares(logs[low:place]) + _squares(logs[place:high]) for place in places}
    least = min(squares.values())
    most = least * (1 + EDGE_VARIANCES / max(high - low - 2, 1))
    return sorted((place for place in places if squares[place] <= most), key=squares.__getitem__)


def _squares(figures: Sequence[float]) -> float:
    centre = statistics.fmean(figures)
    return math.fsum((figure - centre) ** 2 for figure in figures)


def _proposals(logs: Sequence[float], penalty: float) -> list[int]:
    noise = max(_noise(logs), LEAST_NOISE)
    signal = [[log / noise] for log in logs]
    # The linear kernel's cost is the sum of squares around the mean; this search of it is in C.
    search = _ruptures().KernelCPD(kernel="linear", min_size=FEWEST_ON_A_SIDE)
    ends = search.fit(_array(signal)).predict(pen=penalty * math.log(len(logs)))
    return [int(end) for end in ends[:-1]]


def _noise(logs: Sequence[float]) -> float:
    """Return the standard deviation of the figures around their levels, from their neighbours.

    A few steps and outliers don't move the median distance of neighbours; of figures without these
    the root mean square says more. Both can only be too large by them, so the smaller one counts.
    """
    distances = [abs(after - before) for before, after in pairwise(logs)]
    normal = statistics.median(distances) / statistics.NormalDist().inv_cdf(0.75)
    return min(normal, math.sqrt(statistics.fmean(each**2 for each in distances))) / math.sqrt(2)


def _array(signal: Sequence[Sequence[float]]) -> Any:
    import numpy as np

    return np.asarray(signal)


def _ruptures() -> Any:
    try:
        import ruptures
    except ModuleNotFoundError:
        raise NoRuptures(
            f"steps need the package ruptures: {install_command('history', 'ruptures')}"
        ) from None
    return ruptures
