"""When a variant has enough samples, and which of them go to the results file."""

import math
from collections.abc import Sequence
from functools import cache

PRECISION = 0.02
MIN_ROUNDS = 5
FEW_ROUNDS = 3
MIN_SAMPLES = 20
FEW_SAMPLES = 6
CAP_S = 1.0
FILE_SAMPLES = 200


def median_interval(ordered: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95% interval of the median from sorted samples, or None for fewer than six.

    It assumes no distribution: it reaches from one order statistic to another, and the median lies
    outside them in at most 5% of trials, because each sample is below it with probability 1/2.
    """
    rank = _outer_rank(len(ordered))
    return (ordered[rank], ordered[-1 - rank]) if rank >= 0 else None


@cache
def _outer_rank(count: int) -> int:
    """Return the highest r with P(X <= r) at most 2.5% for X ~ Binomial(count, 1/2), or -1."""
    ways, tail, rank = 1, 1, -1
    while 40 * tail <= 1 << count:
        rank += 1
        ways = ways * (count - rank) // (rank + 1)
        tail += ways
    return rank


def reason_to_stop(turns: Sequence[Sequence[float]], calls_per_sample: int = 1) -> str | None:
    """Return the rule by which these samples (seconds a call, by turn) are enough, or None.

    A fast call needs 20 samples in 5 rounds. A slow call, of which 20 take over a second, needs a
    second's worth of samples: at least 6, in 3 rounds.
    """
    samples = sorted(sample for turn in turns for sample in turn)
    if not samples:
        return None
    total_s = sum(samples) * calls_per_sample
    needed = max(FEW_SAMPLES, min(MIN_SAMPLES, math.ceil(CAP_S / samples[len(samples) // 2])))
    rounds = FEW_ROUNDS if needed < MIN_SAMPLES else MIN_ROUNDS
    if len(turns) < rounds or len(samples) < needed:
        return None
    interval = median_interval(samples)
    assert interval is not None
    low, high = interval
    if (high - low) / (high + low) <= PRECISION:
        return f"median known within {PRECISION:.0%}"
    return f"cap of {CAP_S:g} s" if total_s >= CAP_S else None


def thin(turns: Sequence[tuple[int, Sequence[int]]]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Return at most 200 samples, evenly spaced within each turn, but at least one of each turn."""
    share = max(1, FILE_SAMPLES // max(1, len(turns)))
    return tuple((number, tuple(_spread(samples, share))) for number, samples in turns)


def _spread(samples: Sequence[int], share: int) -> list[int]:
    if len(samples) <= share:
        return list(samples)
    return [samples[index * len(samples) // share] for index in range(share)]
