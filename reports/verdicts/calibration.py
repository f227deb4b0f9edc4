"""What comparisons on a machine are worth: false alarms and power, from pairs of the same code.

Comparisons are drawn from recorded pairs without replacement and decided by ab's own rule. Which
side is base is drawn anew for each pair, because with the same code on both they are exchangeable.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import NamedTuple

import msgspec

from reports.verdicts.compare_pairs import figure
from reports.verdicts.decision import decide, suspects
from reports.verdicts.moderated_t import paired_effects
from suite.pairs.stages import second_stage
from suite.records.fingerprint import differences
from suite.records.record import Pair, Versus
from suite.records.store import Results, StoreError

ITSELF = "itself"
RESAMPLES, RESAMPLES_OF_POWER = 400, 200
STAGES = (4, 6, 8, 10, 12, 14, 16)
EFFECTS = (0.02, 0.03, 0.04, 0.05, 0.07, 0.10)
FALSE_ALARMS, POWER, POWER_AT_GATE = 0.01, 0.95, 0.80
REGRESSION = 0.05

PairFigures = dict[str, float]
"""Of one pair: log(head / base) by cell."""


class CountRate(msgspec.Struct, frozen=True):
    """So many of so many, with the 95% bounds of Clopper and Pearson."""

    found: int
    of: int

    @property
    def share(self) -> float:
        return self.found / self.of

    @property
    def bounds(self) -> tuple[float, float]:
        from scipy.special import betaincinv

        low = betaincinv(self.found, self.of - self.found + 1, 0.025) if self.found else 0.0
        missed = self.of - self.found
        high = betaincinv(self.found + 1, missed, 0.975) if missed else 1.0
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.bounds
        return f"{self.found} of {self.of} ({self.share:.1%}, 95% bounds {low:.1%} to {high:.1%})"


class PairsPlan(NamedTuple):
    """What a number of pairs gives: false alarms, and power by effect."""

    pairs: int
    false_alarms: CountRate
    power: dict[float, CountRate]

    @property
    def smallest_effect(self) -> float | None:
        """The smallest effect tried that is found in at least 80% of comparisons."""
        return next((e for e, rate in self.power.items() if rate.share >= POWER_AT_GATE), None)

    @property
    def is_enough(self) -> bool:
        """Whether it keeps false alarms to 1% and finds 5% in at least 95%."""
        return self.false_alarms.share <= FALSE_ALARMS and self.power[REGRESSION].share >= POWER


class Calibration(NamedTuple):
    """A machine's rates from so many pairs, each cell's spread, and how alike neighbours are."""

    pairs: int
    spread: dict[str, float]
    autocorrelation: float
    plans: list[PairsPlan]

    @property
    def recommended(self) -> PairsPlan | None:
        """The fewest pairs that are enough."""
        return next((plan for plan in self.plans if plan.is_enough), None)


def pairs_of(files: Sequence[Results]) -> list[PairFigures]:
    """Return the first-stage pairs in which no cell is missing, files after one another.

    A file with an injected slowdown is left out. Raises StoreError for files of different code,
    of unlike machines, or that have no whole pair in common.
    """
    for file in files:
        if not any(isinstance(one, Versus) and one.base == ITSELF for one in file.records):
            raise StoreError(
                f"{file.path}: no file of aa's; only pairs of the same code tell rates"
            )
        if differing := differences(file.header, files[0].header):
            raise StoreError(f"{file.path} beside {files[0].path}: {'; '.join(differing)}")
    found: list[PairFigures] = []
    for file in files:
        if any(isinstance(record, Versus) and record.injected for record in file.records):
            continue
        by_number: dict[int, PairFigures] = {}
        for record in file.records:
            if isinstance(record, Pair) and record.stage == "first":
                own = by_number.setdefault(record.pair_number, {})
                own[f"{record.variant} {record.case.id}"] = figure(record)
        whole = set().union(*by_number.values())
        found += [pair for _, pair in sorted(by_number.items()) if pair.keys() == whole]
    cells = set.intersection(*map(set, found)) if found else set()
    return [{cell: pair[cell] for cell in sorted(cells)} for pair in found if cells]


def calibrate(pairs: Sequence[PairFigures], gate: float, seed: int = 0) -> Calibration:
    """Return the rates of every number of pairs that three times fits into what was recorded."""
    cells = list(pairs[0])
    spread = {cell: statistics.stdev(pair[cell] for pair in pairs) for cell in cells}
    counts = [count for count in STAGES if 3 * count <= len(pairs)]
    plans = [_plan(pairs, count, gate, Random(f"{seed} {count}")) for count in counts]
    return Calibration(len(pairs), spread, autocorrelation(pairs), plans)


def autocorrelation(pairs: Sequence[PairFigures]) -> float:
    """Return the correlation of a pair's figures with the pair's before, pooled over cells."""
    products = squares = 0.0
    for cell in pairs[0]:
        own = [pair[cell] for pair in pairs]
        centre = statistics.fmean(own)
        products += sum((a - centre) * (b - centre) for a, b in pairwise(own))
        squares += sum((a - centre) ** 2 for a in own)
    return products / squares if squares else 0.0


def _plan(pairs: Sequence[PairFigures], count: int, gate: float, random: Random) -> PairsPlan:
    alarms = sum("slower" in _drawn(pairs, count, gate, random) for _ in range(RESAMPLES))
    power: dict[float, CountRate] = {}
    for effect in EFFECTS:
        found = sum(
            _is_found(pairs, count, gate, effect, random) for _ in range(RESAMPLES_OF_POWER)
        )
        power[effect] = CountRate(found, RESAMPLES_OF_POWER)
    return PairsPlan(count, CountRate(alarms, RESAMPLES), power)


def _is_found(
    pairs: Sequence[PairFigures], count: int, gate: float, effect: float, random: Random
) -> bool:
    slowed = random.randrange(len(pairs[0]))
    return _drawn(pairs, count, gate, random, slowed, math.log1p(effect))[slowed] == "slower"


def _drawn(
    pairs: Sequence[PairFigures],
    count: int,
    gate: float,
    random: Random,
    slowed: int = 0,
    shift: float = 0.0,
) -> list[str]:
    """Return the verdicts of a comparison drawn from the pairs, one cell of which is shifted."""
    drawn = [
        [sign * figure for figure in pair.values()]
        for pair in random.sample(list(pairs), 3 * count)
        for sign in (random.choice((-1, 1)),)
    ]
    cells = [list(figures) for figures in zip(*drawn, strict=True)]
    cells[slowed] = [figure + shift for figure in cells[slowed]]
    first = [figures[:count] for figures in cells]
    flagged = suspects(paired_effects(first), gate)
    again = second_stage(count, len(flagged), len(cells))
    second = {cell: cells[cell][count : count + again] for cell in flagged}
    return [decision.verdict for decision in decide(first, second, gate)]
