"""The rule keeps its rates where the truth is known, and says what it says for the stated reason.

Every simulation has 8 cells and 6 pairs in the first stage, and a fixed seed.
"""

import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.verdicts.decision import FLOOR, MARGIN, Decision, decide, decide_at_once, suspects
from reports.verdicts.moderated_t import Effect, paired_effects, two_sample_effects
from suite.pairs.stages import second_stage

CELLS, PAIRS = 8, 6
Noise = Callable[[Random], list[list[float]]]
"""Draws what every cell's pairs of both stages read when head is base."""


def gaussian(random: Random, spread: float = 0.02) -> list[list[float]]:
    """Return pairs that are independent: the spread of 2% is METHOD.md's."""
    return [[random.gauss(0, spread) for _ in range(3 * PAIRS)] for _ in range(CELLS)]


def spiky(random: Random) -> list[list[float]]:
    """Return pairs of which one in twenty is off by 20%."""
    return [
        [each + random.choice((-0.2, 0.2)) * (random.random() < 0.05) for each in cell]
        for cell in gaussian(random)
    ]


def bimodal(random: Random) -> list[list[float]]:
    """Return pairs that are either 3% up or 3% down, beside their spread."""
    return [[each + random.choice((-0.03, 0.03)) for each in cell] for cell in gaussian(random)]


def unequal(random: Random) -> list[list[float]]:
    """Return cells whose spreads go from 1% to 4%."""
    return [
        [each * 0.5 * 4 ** (place / (CELLS - 1)) for each in cell]
        for place, cell in enumerate(gaussian(random))
    ]


def persistent(random: Random) -> list[list[float]]:
    """Return AR(1) errors: half of each is left in the next pair."""
    cells = gaussian(random)
    for cell in cells:
        for place in range(1, len(cell)):
            cell[place] = 0.5 * cell[place - 1] + math.sqrt(0.75) * cell[place]
    return cells


def persistent_of_random_sign(random: Random) -> list[list[float]]:
    """Return the same errors where a draw says which side of a pair gets them: random signs."""
    signs = [random.choice((-1, 1)) for _ in range(3 * PAIRS)]
    return [
        [sign * each for sign, each in zip(signs, cell, strict=True)] for cell in persistent(random)
    ]


def compare(pairs: list[list[float]], gate: float = 0.0) -> list[Decision]:
    """Return the decisions, stage two measuring what stage one asks for and no more."""
    first = [cell[:PAIRS] for cell in pairs]
    asked = suspects(paired_effects(first), gate)
    end = PAIRS + second_stage(PAIRS, len(asked), len(pairs))
    return decide(first, {cell: pairs[cell][PAIRS:end] for cell in asked}, gate)


def alarms(noise: Noise, comparisons: int) -> int:
    """Count the comparisons of like with like that call any cell slower."""
    random = Random(20)
    found = (compare(noise(random)) for _ in range(comparisons))
    return sum(any(each.verdict == "slower" for each in decisions) for decisions in found)


def heavy(*values: object) -> object:
    """Return a parameter that the heavy tests alone take."""
    return pytest.param(*values, marks=pytest.mark.heavy)


def bounds(count: int, of: int) -> tuple[float, float]:
    """Return the 99% interval of a rate (Clopper & Pearson 1934)."""
    from scipy.stats import binomtest

    low, high = binomtest(count, of).proportion_ci(0.99)
    return float(low), float(high)


@pytest.mark.parametrize(
    "noise", [gaussian, *map(heavy, (spiky, bimodal, unequal, persistent_of_random_sign))]
)
def test_at_most_one_comparison_in_100_raises_a_false_alarm(noise: Noise) -> None:
    assert alarms(noise, 1200) <= 12


def test_errors_that_persist_break_the_rule_unless_sides_are_drawn() -> None:
    """Not a promise but a warning: 13% in 5,000 comparisons, and so here within its bounds."""
    low, high = bounds(alarms(persistent, 600), 600)
    assert 0.05 < low < 0.13 < high < 0.20


@pytest.mark.parametrize(
    ("noise", "slowdown", "at_least"),
    [
        (gaussian, 0.05, 0.95),
        (gaussian, 0.03, 0.80),
        heavy(persistent_of_random_sign, 0.05, 0.95),
        heavy(unequal, 0.05, 0.88),
        heavy(bimodal, 0.05, 0.70),
        heavy(spiky, 0.05, 0.55),
    ],
)
def test_a_real_slowdown_of_one_cell_is_found(
    noise: Noise, slowdown: float, at_least: float
) -> None:
    random, found, comparisons = Random(30), 0, 600
    for each in range(comparisons):
        pairs, slow = noise(random), each % CELLS
        pairs[slow] = [figure + math.log1p(slowdown) for figure in pairs[slow]]
        found += compare(pairs)[slow].verdict == "slower"
    assert bounds(found, comparisons)[0] >= at_least


def test_like_cells_are_mostly_called_the_same() -> None:
    random = Random(40)
    verdicts = [each.verdict for _ in range(100) for each in compare(gaussian(random))]
    assert verdicts.count("same") >= 0.93 * len(verdicts)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "noise", [gaussian, *map(heavy, (spiky, bimodal, persistent_of_random_sign))]
)
def test_cells_that_differ_by_the_margin_are_called_the_same_in_5_of_100(
    noise: Noise, sign: int
) -> None:
    """Two one-sided tests at 5%: not more often than that, by the bounds of what is counted."""
    random, same = Random(45), 0
    for _ in range(150):
        shift = sign * math.log1p(MARGIN)
        pairs = [[each + shift for each in cell] for cell in noise(random)]
        decided = decide_at_once(paired_effects([cell[:PAIRS] for cell in pairs]), MARGIN)
        same += sum(each.verdict == "same" for each in decided)
    assert bounds(same, 150 * CELLS)[0] <= 0.05


def test_two_files_alike_raise_an_alarm_in_at_most_one_comparison_in_100() -> None:
    random, count = Random(50), 0
    for _ in range(1000):
        cells = [(cell[:5], cell[5:10]) for cell in gaussian(random, 0.05)]
        decisions = decide_at_once(two_sample_effects(cells), 0.0)
        count += any(each.verdict == "slower" for each in decisions)
    assert count <= 10


STEADY = [-0.004, -0.002, 0.0, 0.0, 0.002, 0.004]


def steady(shift: float) -> list[float]:
    """Return six steady pairs about a shift."""
    return [each + shift for each in STEADY]


def test_a_confirmed_effect_is_that_of_the_second_stage() -> None:
    first = [STEADY, steady(0.06), steady(-0.06), STEADY]
    decisions = decide(first, {1: steady(0.04), 2: steady(-0.05)}, 0.0)
    assert [each.verdict for each in decisions] == ["same", "slower", "faster", "same"]
    assert [decisions[1].effect.estimate, decisions[2].effect.estimate] == pytest.approx(
        [0.04, -0.05]
    )
    low, high = decisions[1].interval
    assert low < 0.04 < high


@pytest.mark.parametrize(
    ("again", "verdict"),
    [(0.0, "same"), (0.009, "same"), (-0.015, "same"), (-0.08, "inconclusive"), (None, "same")],
)
def test_an_alarm_that_is_not_confirmed_is_none(again: float | None, verdict: str) -> None:
    second = {} if again is None else {0: steady(again)}
    decided = decide([steady(0.02), STEADY], second, 0.0)[0]
    assert decided.verdict == verdict
    assert decided.effect.estimate == pytest.approx((0.02 + (0.02 if again is None else again)) / 2)


@pytest.mark.parametrize(("shift", "gate"), [(FLOOR * 0.9, 0.0), (0.045, 0.05)])
def test_what_is_certain_but_under_the_gate_is_the_same(shift: float, gate: float) -> None:
    assert [each.verdict for each in compare([steady(shift) * 3, STEADY * 3], gate)] == ["same"] * 2
    assert decide_at_once(paired_effects([steady(shift), STEADY]), gate)[0].verdict == "same"


def test_suspects_are_confirmed_by_steps() -> None:
    """Two alike in p fail at 1% / 2; beside one that is certain the other has all of the 1%."""
    wide = [[10 * each + shift for each in STEADY] for shift in (0.0325, 0.1)]
    first = [wide[1], wide[1]]
    weak = decide(first, {0: wide[0], 1: wide[0]}, 0.0)
    assert [each.verdict for each in weak] == ["inconclusive"] * 2
    mixed = decide(first, {0: wide[0], 1: wide[1]}, 0.0)
    assert [each.verdict for each in mixed] == ["slower"] * 2


def test_every_cell_of_a_sweep_that_slowed_is_found() -> None:
    found = compare([steady(0.03) * 2 for _ in range(CELLS)])
    assert {each.verdict for each in found} == {"slower"}


@pytest.mark.parametrize(
    ("suspected", "cells", "pairs"), [(1, 3, 12), (2, 3, 6), (2, 6, 12), (2, 8, 12), (3, 8, 6)]
)
def test_up_to_a_third_of_the_cells_have_twice_the_pairs_in_the_second_stage(
    suspected: int, cells: int, pairs: int
) -> None:
    assert second_stage(6, suspected, cells) == pairs


def test_a_cell_with_one_pair_is_neither_different_nor_the_same() -> None:
    verdicts = [each.verdict for each in decide([[0.5], STEADY, []], {}, 0.0)]
    assert verdicts == ["inconclusive", "same", "inconclusive"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-0.1, 0.1), st.floats(1e-4, 0.05)), max_size=8), st.data())
def test_a_higher_gate_never_flags_more(
    drawn: list[tuple[float, float]], data: st.DataObject
) -> None:
    effects = [Effect(estimate, error, 10.0) for estimate, error in drawn]
    low, high = sorted(data.draw(st.tuples(st.floats(0, 0.1), st.floats(0, 0.1))))
    assert set(suspects(effects, high)) <= set(suspects(effects, low))
    for at_high, at_low in zip(
        decide_at_once(effects, high), decide_at_once(effects, low), strict=True
    ):
        assert at_high.verdict not in {"slower", "faster"} or at_high == at_low


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.06), st.sampled_from([0.0, 0.02]))
def test_faster_mirrors_slower(seed: int, shift: float, gate: float) -> None:
    pairs = gaussian(Random(seed))
    pairs[0] = [each + shift for each in pairs[0]]
    mirror = {"slower": "faster", "faster": "slower"}
    mirrored = compare([[-each for each in cell] for cell in pairs], gate)
    for one, other in zip(compare(pairs, gate), mirrored, strict=True):
        assert one.verdict == mirror.get(other.verdict, other.verdict)
