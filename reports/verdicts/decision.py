"""What a comparison says of each cell, by a rule fixed before anything is measured.

Stage one flags suspects among all cells; stage two measures the suspects alone, afresh, and an
alarm needs both. With every code alike, stage one flags any cell as slower in at most SUSPECT_RATE
of comparisons and stage two confirms any of them in at most CONFIRM_RATE of those: 1 in 400.

This holds where the errors of pairs are independent and as likely up as down. Which side of a pair
starts must therefore be drawn at random for each pair: errors that belong to a place or a time
then have random signs, and autocorrelated ones are no longer correlated. Unless it is drawn, errors
with an autocorrelation of 0.5 raise a false alarm in 13 of 100 comparisons (8 cells, 6 pairs in the
first stage, simulated; with the draw, in 0.4).
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
"""Benjamini-Hochberg's q of stage one: generous, because a suspect costs only a minute, while a
regression that isn't flagged is lost for good."""

CONFIRM_RATE = 0.01
"""Holm's level over the suspects in stage two: times SUSPECT_RATE well below the 1% allowed, since
unequal or autocorrelated spreads double the product. Rates of 10% and 4% with as many pairs in
both stages raised no fewer false alarms and found 81% of slowdowns of 3%, these 89% (simulated: 8
cells of normal spreads of 0.3% to 4.5%, 10 pairs)."""

AT_ONCE_RATE = 0.005
"""Benjamini-Hochberg's q where two files are all there is and nothing can be confirmed: at 0.01,
three passes a side with spreads of 2.5% to 10% raised a false alarm in 2% of simulations."""

FLOOR = 0.01
"""No smaller estimate is called slower or faster: however many pairs make it certain,
nobody acts on less than 1%."""

MARGIN = 0.03
"""What two cells may differ by and still be the same: the smallest slowdown that six pairs of
spread 2% find in four comparisons of five; 2% would leave nearly half of like cells undecided."""

SAME_LEVEL = 0.90
"""Two one-sided tests at 5% each are this interval inside the margins (Schuirmann 1987, J.
Pharmacokinet. Biopharm. 15, 657)."""

SHOWN_LEVEL = 0.95
"""Of the interval that is shown: that of every other interval of the tables."""


TimeVerdict = Literal["slower", "faster", "same", "inconclusive"]
"""Of a cell that both sides measured; missing and wrong are decided from the records."""


class Decision(NamedTuple):
    """A verdict, and the effect it rests on with its 95% interval, as log(head / base)."""

    verdict: TimeVerdict
    effect: Effect
    interval: tuple[float, float]


def suspects(effects: Sequence[Effect], gate: float) -> list[int]:
    """Return which cells stage one flags, slower or faster; `gate` is a ratio's excess, 0.05."""
    return sorted(cell for sign in (1, -1) for cell in _flag(effects, gate, sign, SUSPECT_RATE))


def decide(
    first: Sequence[Sequence[float]], second: Mapping[int, Sequence[float]], gate: float
) -> list[Decision]:
    """Return each cell's decision from log(head / base), one a pair, of both stages.

    `second` holds the fresh pairs of `suspects(moderated(first), gate)` by cell; a suspect that it
    lacks stays unconfirmed. A confirmed effect is the second stage's: the first's was selected.
    """
    effects = paired_effects(first)
    flagged = {cell: second.get(cell, ()) for cell in suspects(effects, gate)}
    # The other cells tell of the spread here too, which the suspects' own pairs say too little of.
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
        else _unless_different(both[cell], gate)
        for cell in range(len(first))
    ]


def decide_at_once(effects: Sequence[Effect], gate: float) -> list[Decision]:
    """Return each cell's decision where no second stage can be had, as between two files."""
    different: dict[int, TimeVerdict] = {}
    for sign, verdict in _VERDICTS:
        different |= dict.fromkeys(_flag(effects, gate, sign, AT_ONCE_RATE), verdict)
    return [
        _decision(effect, different[cell]) if cell in different else _unless_different(effect, gate)
        for cell, effect in enumerate(effects)
    ]


_VERDICTS: tuple[tuple[int, TimeVerdict], ...] = ((1, "slower"), (-1, "faster"))


def _flag(effects: Sequence[Effect], gate: float, sign: int, q: float) -> list[int]:
    found = benjamini_hochberg([_p(effect, sign) for effect in effects], q)
    return [cell for cell, it in enumerate(effects) if found[cell] and _is_over(it, gate, sign)]


def _confirm(fresh: Sequence[Effect], family: Sequence[int], gate: float, sign: int) -> list[int]:
    """Return which of a direction's suspects pass Holm's step-down test (1979) and the floor."""
    confirmed = []
    ordered = sorted(family, key=lambda cell: _p(fresh[cell], sign))
    for left, cell in zip(range(len(ordered), 0, -1), ordered, strict=True):
        if _p(fresh[cell], sign) >= CONFIRM_RATE / left:
            break
        confirmed.append(cell)
    return [cell for cell in confirmed if _is_over(fresh[cell], gate, sign)]


def _p(effect: Effect, sign: int) -> float:
    return p_above(effect) if sign > 0 else p_below(effect)


def _is_over(effect: Effect, gate: float, sign: int) -> bool:
    return sign * effect.estimate > math.log1p(max(gate, FLOOR))


def _unless_different(effect: Effect, gate: float) -> Decision:
    margin = math.log1p(max(gate, MARGIN))
    low, high = interval(effect, SAME_LEVEL)
    return _decision(effect, "same" if -margin < low and high < margin else "inconclusive")


def _decision(effect: Effect, verdict: TimeVerdict) -> Decision:
    return Decision(verdict, effect, interval(effect, SHOWN_LEVEL))
