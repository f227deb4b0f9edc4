"""Decides each cell's verdict from its figures, by a rule fixed before anything is measured.

Stage one flags suspects among all cells. Stage two measures the suspects alone, in fresh pairs. A
cell is called slower or faster only if both stages show it. Where base and head are equally fast,
stage one flags some cell as slower in at most SUSPECT_RATE of comparisons, and stage two confirms
one in at most CONFIRM_RATE of those: 1 false alarm in 400 comparisons.

This holds if the errors of pairs are independent and as likely up as down. So the side that starts
must be drawn at random for each pair. An error that belongs to a place or a time then has a random
sign, and autocorrelated errors are no longer correlated. Without the draw, errors with an
autocorrelation of 0.5 raise a false alarm in 13 of 100 comparisons; with it, in 0.4 of 100 (8
cells, 6 pairs in the first stage, simulated).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from reports.verdicts.moderated_t import (
    Effect,
    benjamini_hochberg,
    interval,
    p_above,
    p_below,
    paired_effects,
)

SUSPECT_RATE = 0.25
"""The false discovery rate q of stage one, by Benjamini and Hochberg. It is high because a false
suspect costs only a minute of stage two, while a regression that isn't flagged is never found."""

CONFIRM_RATE = 0.01
"""The level of Holm's test over the suspects in stage two. Its product with SUSPECT_RATE is well
below the 1% of false alarms allowed, because unequal or autocorrelated spreads double the product.
These rates found 89% of slowdowns of 3%. Rates of 10% and 4%, with as many pairs in both stages,
found 81% and raised no fewer false alarms (simulated: 8 cells of normal spreads of 0.3% to 4.5%,
10 pairs)."""

AT_ONCE_RATE = 0.005
"""The false discovery rate q for two files, where no second stage can confirm a suspect. At 0.01,
three passes a side with spreads of 2.5% to 10% raised a false alarm in 2% of simulations."""

FLOOR = 0.01
"""No estimate below this share is called slower or faster: nobody acts on less than 1%, however
many pairs make it certain."""

MARGIN = 0.03
"""A cell whose sides differ by less than this is the same. Six pairs of spread 2% find a 3%
slowdown in four comparisons of five; a margin of 2% would leave nearly half of equal cells
undecided."""

SAME_LEVEL = 0.90
"""A 90% interval inside the margins passes two one-sided tests at 5% each (Schuirmann 1987, J.
Pharmacokinet. Biopharm. 15, 657)."""

SHOWN_LEVEL = 0.95
"""The level of the interval that tables show, as for all their intervals."""


TimeVerdict = Literal["slower", "faster", "same", "inconclusive"]
"""The verdict of a cell with times on both sides; `comparison` adds "missing" and "wrong"."""


class Decision(NamedTuple):
    """A verdict, with its effect and the effect's 95% interval, both as log(head / base)."""

    verdict: TimeVerdict
    effect: Effect
    interval: tuple[float, float]


def suspects(effects: Sequence[Effect], gate: float) -> list[int]:
    """Return the places of the cells that stage one flags as slower or faster.

    `gate` is the least change that counts, as a share: 0.05 is 5%.
    """
    return sorted(cell for sign in (1, -1) for cell in _flag(effects, gate, sign, SUSPECT_RATE))


def decide(
    first: Sequence[Sequence[float]], second: Mapping[int, Sequence[float]], gate: float
) -> list[Decision]:
    """Return each cell's decision, from the log(head / base) of each pair of both stages.

    `second` holds the fresh pairs of the cells `suspects(paired_effects(first), gate)`, by place. A
    suspect without fresh pairs stays unconfirmed. The effect of a confirmed cell is the second
    stage's: the first stage's is too large on average, because the cell was selected for it.
    """
    effects = paired_effects(first)
    flagged = {cell: second.get(cell, ()) for cell in suspects(effects, gate)}
    # The other cells' first-stage pairs join in: the suspects' few pairs say little of the spread.
    fresh = paired_effects([flagged.get(cell, figures) for cell, figures in enumerate(first)])
    both = paired_effects(
        [(*figures, *flagged.get(cell, ())) for cell, figures in enumerate(first)]
    )
    confirmed: dict[int, TimeVerdict] = {}
    for sign, verdict in _VERDICTS:
        family = [cell for cell in flagged if sign * effects[cell].estimate > 0]
        confirmed |= dict.fromkeys(_confirm(fresh, family, gate, sign), verdict)
    return [
        _decision(fresh[cell], confirmed[cell])
        if cell in confirmed
        else _same_or_inconclusive(both[cell], gate)
        for cell in range(len(first))
    ]


def decide_at_once(effects: Sequence[Effect], gate: float) -> list[Decision]:
    """Return each cell's decision where there can be no second stage, as between two files."""
    different: dict[int, TimeVerdict] = {}
    for sign, verdict in _VERDICTS:
        different |= dict.fromkeys(_flag(effects, gate, sign, AT_ONCE_RATE), verdict)
    return [
        _decision(effect, different[cell])
        if cell in different
        else _same_or_inconclusive(effect, gate)
        for cell, effect in enumerate(effects)
    ]


_VERDICTS: tuple[tuple[int, TimeVerdict], ...] = ((1, "slower"), (-1, "faster"))


def _flag(effects: Sequence[Effect], gate: float, sign: int, q: float) -> list[int]:
    rejected = benjamini_hochberg([_p(effect, sign) for effect in effects], q)
    return [
        cell
        for cell, effect in enumerate(effects)
        if rejected[cell] and _is_over(effect, gate, sign)
    ]


def _confirm(fresh: Sequence[Effect], family: Sequence[int], gate: float, sign: int) -> list[int]:
    """Return the suspects of one direction that pass Holm's step-down test (1979) and the gate."""
    confirmed = []
    ordered = sorted(family, key=lambda cell: _p(fresh[cell], sign))
    for remaining, cell in zip(range(len(ordered), 0, -1), ordered, strict=True):
        if _p(fresh[cell], sign) >= CONFIRM_RATE / remaining:
            break
        confirmed.append(cell)
    return [cell for cell in confirmed if _is_over(fresh[cell], gate, sign)]


def _p(effect: Effect, sign: int) -> float:
    return p_above(effect) if sign > 0 else p_below(effect)


def _is_over(effect: Effect, gate: float, sign: int) -> bool:
    return sign * effect.estimate > math.log1p(max(gate, FLOOR))


def _same_or_inconclusive(effect: Effect, gate: float) -> Decision:
    margin = math.log1p(max(gate, MARGIN))
    low, high = interval(effect, SAME_LEVEL)
    return _decision(effect, "same" if -margin < low and high < margin else "inconclusive")


def _decision(effect: Effect, verdict: TimeVerdict) -> Decision:
    return Decision(verdict, effect, interval(effect, SHOWN_LEVEL))
