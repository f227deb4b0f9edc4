"""Moderated effects agree with known answers, and have the symmetries that a fair test has."""

import math
import statistics
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.verdicts.moderated_t import (
    Effect,
    benjamini_hochberg,
    fit_prior,
    interval,
    p_above,
    p_below,
    paired_effects,
    trigamma_inverse,
    two_sample_effects,
)

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
figures = st.integers(-300, 300).map(lambda thousandths: thousandths / 1000)
cell = st.lists(figures, min_size=3, max_size=8)
comparison = st.lists(cell, min_size=1, max_size=6)
p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def close(effect: Effect, other: Effect) -> bool:
    """Return whether two effects differ by rounding alone; the prior's fit amplifies it."""
    return effect == pytest.approx(other, rel=1e-4, abs=1e-8)


def test_a_single_cell_s_test_is_student_s() -> None:
    from scipy.stats import ttest_1samp, ttest_ind

    base, head = [0.01, 0.03, -0.005, 0.02], [0.05, 0.02, 0.09]
    one = paired_effects([head])[0]
    student = ttest_1samp(head, 0.0, alternative="greater")
    assert (one.freedom, p_above(one)) == pytest.approx((2, student.pvalue))
    assert interval(one) == pytest.approx(ttest_1samp(head, 0.0).confidence_interval(0.95))
    assert p_below(one, 0.1) == pytest.approx(ttest_1samp(head, 0.1, alternative="less").pvalue)
    two = two_sample_effects([(base, head)])[0]
    assert two.estimate == pytest.approx(statistics.fmean(head) - statistics.fmean(base))
    assert p_above(two) == pytest.approx(ttest_ind(head, base, alternative="greater").pvalue)


def test_cells_that_spread_alike_share_one_variance_and_all_their_freedom() -> None:
    from scipy.stats import norm

    effects = paired_effects([[shift - 0.02, shift, shift + 0.02] for shift in range(400)])
    for shift, effect in enumerate(effects):
        assert effect == pytest.approx((shift, 0.02 / math.sqrt(3), 800))
    assert p_above(effects[0], -0.02) == pytest.approx(norm.sf(math.sqrt(3)), rel=0.02)


def test_the_prior_of_simulated_variances_is_the_one_they_were_drawn_from() -> None:
    random, d0, s0_squared, own = Random(5), 8, 0.0004, 5
    true = [s0_squared * d0 / random.gammavariate(d0 / 2, 2) for _ in range(20_000)]
    seen = [each * random.gammavariate(own / 2, 2) / own for each in true]
    assert fit_prior(seen, [own] * len(seen)) == pytest.approx((d0, s0_squared), rel=0.05)


def test_a_posterior_variance_is_the_mean_by_freedom() -> None:
    cells = [[0.0, 0.001, 0.002], [0.0, 0.3, 0.6], [0.0, 0.02, 0.04, 0.06]]
    freedoms, variances = [2, 2, 3], [statistics.variance(each) for each in cells]
    d0, s0_squared = fit_prior(variances, freedoms)
    assert 0 < d0 < math.inf
    for effect, variance, d, own in zip(
        paired_effects(cells), variances, freedoms, cells, strict=True
    ):
        posterior = (d0 * s0_squared + d * variance) / (d0 + d)
        assert effect.standard_error == pytest.approx(math.sqrt(posterior / len(own)))
        assert effect.freedom == pytest.approx(min(d0 + d, sum(freedoms)))


@calmly
@given(st.floats(1e-12, 1e9))
def test_trigamma_is_inverted(value: float) -> None:
    from scipy.special import polygamma

    assert float(polygamma(1, trigamma_inverse(value))) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("too_few", [[], [0.5], [0.5, math.nan]])
def test_a_cell_without_a_variance_tells_nothing_and_disturbs_none(too_few: list[float]) -> None:
    others = [[0.01, 0.02, 0.04], [0.0, 0.3, 0.1]]
    unknown, *known = paired_effects([too_few, *others])
    assert known == paired_effects(others)
    assert (unknown.standard_error, p_above(unknown), p_below(unknown)) == (math.inf, 1, 1)
    assert interval(unknown) == (-math.inf, math.inf)
    sides = [([0.1, 0.2], too_few), (too_few, [0.1, 0.2])]
    assert [each.standard_error for each in two_sample_effects(sides)] == [math.inf, math.inf]


def test_a_cell_that_never_varies_is_certain_alone_and_spreads_like_others_beside_them() -> None:
    exact, others = [0.1, 0.1, 0.1], [[0.01, 0.02, 0.04], [0.0, 0.02, 0.01]]
    alone, twin = paired_effects([exact, exact])
    assert alone == twin == pytest.approx((0.1, 0, 2))
    assert (p_above(alone), p_below(alone), p_above(alone, alone.estimate)) == (0, 1, 0.5)
    assert interval(alone) == pytest.approx((0.1, 0.1))
    beside, *rest = paired_effects([exact, *others])
    assert rest == paired_effects(others)
    assert beside.standard_error == pytest.approx(rest[0].standard_error, rel=0.5)


@calmly
@given(comparison)
def test_the_two_directions_mirror_each_other(cells: list[list[float]]) -> None:
    base = [0.0, 0.1]
    effects = [*paired_effects(cells), *two_sample_effects([(base, each) for each in cells])]
    mirrored = paired_effects([[-figure for figure in each] for each in cells])
    mirrored += two_sample_effects([(each, base) for each in cells])
    for one, other in zip(effects, mirrored, strict=True):
        assert close(one, other._replace(estimate=-other.estimate))
        assert p_above(one, 0.01) == pytest.approx(p_below(other, -0.01), abs=1e-6)


@calmly
@given(comparison, st.randoms(use_true_random=False))
def test_no_order_of_replicates_or_cells_matters(cells: list[list[float]], random: Random) -> None:
    effects = paired_effects(cells)
    assert effects == paired_effects([random.sample(each, len(each)) for each in cells])
    order = random.sample(range(len(cells)), len(cells))
    for place, effect in zip(order, paired_effects([cells[place] for place in order]), strict=True):
        assert close(effect, effects[place])


@calmly
@given(comparison, st.floats(0, 0.5))
def test_more_shift_is_never_less_significant(cells: list[list[float]], shift: float) -> None:
    before = paired_effects(cells)
    after = paired_effects([[each + shift for each in cells[0]], *cells[1:]])
    assert p_above(after[0]) <= p_above(before[0]) + 1e-6
    assert p_below(after[0]) >= p_below(before[0]) - 1e-6
    assert all(map(close, after[1:], before[1:]))


@calmly
@given(p_lists, st.sampled_from([0.01, 0.1, 0.5]))
def test_benjamini_and_hochberg_reject_as_scipy_does(p_values: list[float], q: float) -> None:
    from scipy.stats import false_discovery_control

    for found, adjusted in zip(
        benjamini_hochberg(p_values, q), false_discovery_control(p_values), strict=True
    ):
        assert found == (adjusted <= q) or adjusted == pytest.approx(q)


def test_benjamini_and_hochberg_step_up_past_a_p_that_fails_alone() -> None:
    assert benjamini_hochberg([0.04, 0.9, 0.03, 0.035], 0.05) == [False] * 4
    assert benjamini_hochberg([0.037, 0.9, 0.03, 0.035], 0.05) == [True, False, True, True]
    assert benjamini_hochberg([], 0.1) == []
