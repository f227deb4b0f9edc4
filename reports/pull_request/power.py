"""What a comparison in pairs could have found, from the spread of its own pairs.

Comparisons like it are drawn from its first stage's pairs, less each cell's mean, with replacement.
They are slowed in a random cell and decided as `ab` decides. With few pairs the deviations from
their own mean are too small, so they are widened by sqrt(n / (n - 1)).
"""

import math
import statistics
from random import Random
from typing import NamedTuple

from reports.verdicts.calibration import (
    EFFECTS,
    POWER_AT_GATE,
    RESAMPLES_OF_POWER,
    CountRate,
    PairFigures,
    draw_verdicts,
)
from reports.verdicts.compare_pairs import figures
from suite.records.record import Versus
from suite.records.store import Results


class Power(NamedTuple):
    """How many of the drawn comparisons found a slowdown of `effect` (0.03 is 3%) in one cell."""

    effect: float
    rate: CountRate


def power(results: Results, seed: int = 0) -> Power | None:
    """Return the least slowdown that 80% of comparisons like this would find, with its rate.

    If none of `EFFECTS` is found so often, the largest. None for under two pairs.
    """
    versus = next(record for record in results.records if isinstance(record, Versus))
    pairs = deviations(results)
    if len(pairs) < 2:
        return None
    random = Random(seed)
    for effect in EFFECTS:
        rate = detection_rate(pairs, versus.gate, effect, random)
        if rate.share >= POWER_AT_GATE:
            break
    return Power(effect, rate)


def detection_rate(
    pairs: list[PairFigures], gate: float, effect: float, random: Random
) -> CountRate:
    """Return how many comparisons, drawn from deviations, find a cell that is slower by `effect`.

    `gate` and `effect` are shares: 0.03 is 3%. Needs two pairs.
    """
    count = len(pairs)
    hits = 0
    for _ in range(RESAMPLES_OF_POWER):
        slowed = random.randrange(len(pairs[0]))
        drawn = random.choices(pairs, k=3 * count)
        verdicts = draw_verdicts(drawn, count, gate, random, slowed, math.log1p(effect))
        hits += verdicts[slowed] == "slower"
    return CountRate(hits, RESAMPLES_OF_POWER)


def deviations(results: Results) -> list[PairFigures]:
    """Return the first stage's pairs as deviations from each cell's mean, widened.

    Cells with fewer pairs than others have lost theirs to a failure and are left out.
    """
    by_cell = figures(results, "first")
    count = max(map(len, by_cell.values()), default=0)
    whole = {
        f"{name} {case.id}": logs for (case, name), logs in by_cell.items() if len(logs) == count
    }
    if count < 2:
        return []
    widening = math.sqrt(count / (count - 1))
    means = {cell: statistics.fmean(logs) for cell, logs in whole.items()}
    return [
        {cell: widening * (logs[pair] - means[cell]) for cell, logs in whole.items()}
        for pair in range(count)
    ]
