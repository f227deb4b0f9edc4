"""Effects of cells with few replicates each: a t-statistic whose variance borrows from all cells.

Smyth (2004), Stat. Appl. Genet. Mol. Biol. 3(1), 3. The true variances of the cells are taken as
drawn from a scaled inverse chi-square with d0 degrees of freedom and scale s0^2, which is fitted to
all cells. The variance of a cell is then the mean of s0^2 and the cell's sample variance s^2,
weighted by their degrees of freedom d0 and d.

An effect is a natural logarithm, log(head / base): above 0 where head is slower.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

RESOLUTION = 1e-9
"""A cell with a standard deviation up to this counts as noise-free. In a time so little can only be
rounding, and its logarithm would ruin the prior."""


class Effect(NamedTuple):
    """A cell's log(head / base), its standard error and degrees of freedom.

    The standard error is infinite if the variance is unknown, as for a single pair.
    """

    estimate: float
    standard_error: float
    freedom: float


class _Sample(NamedTuple):
    estimate: float
    freedom: int
    variance: float  # of one figure; nan if undefined
    weight: float  # variance of the estimate = weight * variance


def paired_effects(cells: Sequence[Sequence[float]]) -> list[Effect]:
    """Return the effect of each cell, given as log(head / base) of each of its pairs."""
    return _effects([_sample(figures) for figures in cells])


def two_sample_effects(
    cells: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> list[Effect]:
    """Return the effect of each cell, given as (base, head): the log figures of their passes."""
    return _effects([_difference(_sample(base), _sample(head)) for base, head in cells])


def p_above(effect: Effect, bound: float = 0.0) -> float:
    """Return the one-sided p-value for "effect <= bound"; 1 if the standard error is infinite."""
    from scipy.special import stdtr

    above, error = effect.estimate - bound, effect.standard_error
    if math.isinf(error):
        return 1.0
    statistic = above / error if error else math.copysign(math.inf, above) if above else 0.0
    return float(stdtr(effect.freedom, -statistic))


def p_below(effect: Effect, bound: float = 0.0) -> float:
    """Return the one-sided p-value for "effect >= bound"; 1 if the standard error is infinite."""
    return p_above(effect._replace(estimate=-effect.estimate), -bound)


def interval(effect: Effect, level: float = 0.95) -> tuple[float, float]:
    """Return the two-sided t-interval of an effect; infinite if the standard error is."""
    from scipy.special import stdtrit

    if math.isinf(effect.standard_error):
        return -math.inf, math.inf
    half = float(stdtrit(effect.freedom, (1 + level) / 2)) * effect.standard_error
    return effect.estimate - half, effect.estimate + half


def benjamini_hochberg(p_values: Sequence[float], q: float) -> list[bool]:
    """Return for each hypothesis whether it is rejected, at a false discovery rate of q.

    Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57, 289: with m sorted p-values, all up to the
    largest p(k) <= q k/m are rejected.
    """
    steps = enumerate(sorted(p_values), start=1)
    limit = max((p for k, p in steps if p <= q * k / len(p_values)), default=-1.0)
    return [p <= limit for p in p_values]


def fit_prior(variances: Sequence[float], freedoms: Sequence[int]) -> tuple[float, float]:
    """Fit (d0, s0^2) to the mean and variance of log s^2 (Smyth 2004, section 6.2).

    The mean is log s0^2 + f(d) - f(d0) with f(d) = psi(d/2) - log(d/2); the variance is
    psi'(d/2) + psi'(d0/2). For fewer than two cells d0 = 0: nothing is borrowed. Where the
    variances differ no more than by chance, d0 is infinite and s0^2 their mean, weighted by degrees
    of freedom.
    """
    from scipy.special import digamma, polygamma

    if len(variances) < 2:
        return 0.0, 0.0
    samples = list(zip(variances, freedoms, strict=True))
    logs = [math.log(variance * d / 2) - float(digamma(d / 2)) for variance, d in samples]
    centre, spread = _mean_and_variance(logs)
    excess = spread - math.fsum(float(polygamma(1, d / 2)) for d in freedoms) / len(freedoms)
    if excess <= 0:
        return math.inf, math.fsum(variance * d for variance, d in samples) / sum(freedoms)
    half = trigamma_inverse(excess)
    return 2 * half, math.exp(centre + float(digamma(half)) - math.log(half))


def trigamma_inverse(value: float) -> float:
    """Return x with psi'(x) = value > 0 by Newton's steps on 1 / psi' (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    x, step = 0.5 + 1 / value, math.inf
    while abs(step) > 1e-10 * x:
        at_x = float(polygamma(1, x))
        step = at_x * (1 - at_x / value) / float(polygamma(2, x))
        x += step
    return x


def _effects(samples: Sequence[_Sample]) -> list[Effect]:
    noisy = [each for each in samples if each.variance > RESOLUTION**2]
    freedoms = [each.freedom for each in noisy]
    prior = fit_prior([each.variance for each in noisy], freedoms)
    # As in limma: a moderated variance has at most the degrees of freedom of all cells together.
    return [_effect(sample, prior, sum(freedoms)) for sample in samples]


def _effect(sample: _Sample, prior: tuple[float, float], most_freedom: int) -> Effect:
    estimate, freedom, variance, weight = sample
    if math.isnan(variance):
        return Effect(estimate, math.inf, 0.0)
    d0, s0_squared = prior
    share = freedom / (d0 + freedom)
    variance = share * (variance if variance > RESOLUTION**2 else 0.0) + (1 - share) * s0_squared
    moderated_freedom = float(max(min(d0 + freedom, most_freedom), freedom))
    return Effect(estimate, math.sqrt(variance * weight), moderated_freedom)


def _sample(figures: Sequence[float]) -> _Sample:
    mean, variance = _mean_and_variance(figures)
    return _Sample(mean, max(len(figures) - 1, 0), variance, 1 / max(len(figures), 1))


def _difference(base: _Sample, head: _Sample) -> _Sample:
    freedom, weight = base.freedom + head.freedom, base.weight + head.weight
    sums = base.freedom * base.variance + head.freedom * head.variance  # nan where either is
    return _Sample(head.estimate - base.estimate, freedom, sums / max(freedom, 1), weight)


def _mean_and_variance(figures: Sequence[float]) -> tuple[float, float]:
    """Return mean and variance, nan if undefined.

    The sums are exact, so that the order of the figures can't change the result.
    """
    if len(figures) < 2:
        return (figures[0] if figures else math.nan), math.nan
    mean = math.fsum(figures) / len(figures)
    return mean, math.fsum((each - mean) ** 2 for each in figures) / (len(figures) - 1)
