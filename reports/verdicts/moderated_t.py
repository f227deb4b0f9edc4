"""Effects of cells with few replicates each, whose variances lend each other strength.

Smyth (2004), Stat. Appl. Genet. Mol. Biol. 3(1), 3: the cells' true variances are drawn from a
scaled inverse chi-square with d0 degrees of freedom and scale s0^2, fitted to all cells; a cell's
variance is then the mean of s0^2 and its own s^2, weighted by their freedom d0 and d.

Everything is in natural logarithms: an effect is log(head / base), above 0 where head is slower.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

RESOLUTION = 1e-9
"""A standard deviation up to this is a cell without noise, as a count of bytes is: in a time it
can only be rounding, whose logarithm would ruin the prior."""


class Effect(NamedTuple):
    """A cell's log(head / base); the standard error is infinite below two replicates a side."""

    estimate: float
    standard_error: float
    freedom: float


class _Sample(NamedTuple):
    estimate: float
    freedom: int
    variance: float  # of one figure; nan if undefined
    weight: float  # the estimate's variance is this times that of one figure


def paired_effects(cells: Sequence[Sequence[float]]) -> list[Effect]:
    """Return the effects of cells whose replicates are paired: log(head / base), one a pair."""
    return _effects([_sample(figures) for figures in cells])


def two_sample_effects(
    cells: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> list[Effect]:
    """Return the effects of cells given as (base, head), each the log figures of its passes."""
    return _effects([_difference(_sample(base), _sample(head)) for base, head in cells])


def p_above(effect: Effect, bound: float = 0.0) -> float:
    """Return the one-sided p of an effect of `bound` or less; 1 where nothing is known."""
    from scipy.special import stdtr

    above, error = effect.estimate - bound, effect.standard_error
    if math.isinf(error):
        return 1.0
    statistic = above / error if error else math.copysign(math.inf, above) if above else 0.0
    return float(stdtr(effect.freedom, -statistic))


def p_below(effect: Effect, bound: float = 0.0) -> float:
    """Return the one-sided p of an effect of `bound` or more; 1 where nothing is known."""
    return p_above(effect._replace(estimate=-effect.estimate), -bound)


def interval(effect: Effect, level: float = 0.95) -> tuple[float, float]:
    """Return the two-sided t-interval of an effect; infinite where nothing is known."""
    from scipy.special import stdtrit

    if math.isinf(effect.standard_error):
        return -math.inf, math.inf
    half = float(stdtrit(effect.freedom, (1 + level) / 2)) * effect.standard_error
    return effect.estimate - half, effect.estimate + half


def benjamini_hochberg(p_values: Sequence[float], q: float) -> list[bool]:
    """Return which hypotheses fall at a false discovery rate of q.

    Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57, 289: those up to the largest p(k) <= q k/m.
    """
    steps = enumerate(sorted(p_values), start=1)
    limit = max((p for k, p in steps if p <= q * k / len(p_values)), default=-1.0)
    return [p <= limit for p in p_values]


def fitted_prior(variances: Sequence[float], freedoms: Sequence[int]) -> tuple[float, float]:
    """Fit (d0, s0^2) to the mean and variance of log s^2 (Smyth 2004, section 6.2).

    They are log s0^2 + f(d) - f(d0), f(d) = psi(d/2) - log(d/2), and psi'(d/2) + psi'(d0/2). One
    cell tells nothing of others: d0 = 0. Of variances that spread no more than by chance, d0 is
    infinite and s0^2 their mean by freedom.
    """
    from scipy.special import digamma, polygamma

    if len(variances) < 2:
        return 0.0, 0.0
    both = list(zip(variances, freedoms, strict=True))
    logs = [math.log(variance * d / 2) - float(digamma(d / 2)) for variance, d in both]
    centre, spread = _mean_and_variance(logs)
    excess = spread - math.fsum(float(polygamma(1, d / 2)) for d in freedoms) / len(freedoms)
    if excess <= 0:
        return math.inf, math.fsum(variance * d for variance, d in both) / sum(freedoms)
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
    prior = fitted_prior([each.variance for each in noisy], freedoms)
    # As in limma: a pooled variance is known no better than from all cells together.
    return [_effect(sample, prior, sum(freedoms)) for sample in samples]


def _effect(sample: _Sample, prior: tuple[float, float], known: int) -> Effect:
    estimate, own, variance, weight = sample
    if math.isnan(variance):
        return Effect(estimate, math.inf, 0.0)
    d0, s0_squared = prior
    share = own / (d0 + own)
    variance = share * (variance if variance > RESOLUTION**2 else 0.0) + (1 - share) * s0_squared
    return Effect(estimate, math.sqrt(variance * weight), float(max(min(d0 + own, known), own)))


def _sample(figures: Sequence[float]) -> _Sample:
    mean, variance = _mean_and_variance(figures)
    return _Sample(mean, max(len(figures) - 1, 0), variance, 1 / max(len(figures), 1))


def _difference(base: _Sample, head: _Sample) -> _Sample:
    freedom, weight = base.freedom + head.freedom, base.weight + head.weight
    sums = base.freedom * base.variance + head.freedom * head.variance  # nan where either is
    return _Sample(head.estimate - base.estimate, freedom, sums / max(freedom, 1), weight)


def _mean_and_variance(figures: Sequence[float]) -> tuple[float, float]:
    """Return both by exact sums, so that the order of replicates can't matter; nan if undefined."""
    if len(figures) < 2:
        return (figures[0] if figures else math.nan), math.nan
    mean = math.fsum(figures) / len(figures)
    return mean, math.fsum((each - mean) ** 2 for each in figures) / (len(figures) - 1)
