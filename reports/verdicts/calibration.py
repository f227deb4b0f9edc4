"""The false alarms and the power of comparisons on a machine, from recorded pairs of the same code.

Comparisons are drawn from the recorded pairs without replacement and decided by the rule of `ab`.
The base of each pair is drawn at random from its two sides, which run the same code and so are
exchangeable.
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
"""The name of the base in files of `aa`, which compares a tree with itself."""
RESAMPLES, RESAMPLES_OF_POWER = 400, 200
STAGES = (4, 6, 8, 10, 12, 14, 16)
EFFECTS = (0.02, 0.03, 0.04, 0.05, 0.07, 0.10)
FALSE_ALARMS, POWER, POWER_AT_GATE = 0.01, 0.95, 0.80
REGRESSION = 0.05

PairFigures = dict[str, float]
"""log(head / base) of one pair, by cell ("variant case")."""


class CountRate(msgspec.Struct, frozen=True):
    """A share: `found` of `of` trials, with the 95% bounds of Clopper and Pearson (1934)."""

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
        return f"{self.found} of {self.of} (95%: {low:.1%} to {high:.1%})"


class PairsPlan(NamedTuple):
    """The rates of a number of pairs: false alarms, and power by effect (0.05 is 5% slower)."""

    pairs: int
    false_alarms: CountRate
    power: dict[float, CountRate]

    @property
    def smallest_effect(self) -> float | None:
        """The smallest of `EFFECTS` that at least 80% of comparisons find; None if none is."""
        return next((e for e, rate in self.power.items() if rate.share >= POWER_AT_GATE), None)

    @property
    def is_enough(self) -> bool:
        """Whether at most 1% of comparisons raise a false alarm and at least 95% find +5%."""
        return self.false_alarms.share <= FALSE_ALARMS and self.power[REGRESSION].share >= POWER


class Calibration(NamedTuple):
    """A machine's rates, from `pairs` recorded pairs.

    `spread` is each cell's standard deviation of log(head / base). `autocorrelation` is that of
    successive pairs.
    """

    pairs: int
    spread: dict[str, float]
    autocorrelation: float
    plans: list[PairsPlan]

    @property
    def recommended(self) -> PairsPlan | None:
        """The plan with the fewest pairs that is enough, or None."""
        return next((plan for plan in self.plans if plan.is_enough), None)


def pairs_of(files: Sequence[Results]) -> list[PairFigures]:
    """Return the first-stage pairs in which no cell is missing, in the order of the files.

    Cells that only some of these pairs have are left out, and so are files with an injected
    slowdown. Raises StoreError for a file that `aa` did not write, and for files of different
    hardware, software or policy.
    """
    for file in files:
        if not any(isinstance(record, Versus) and record.base == ITSELF for record in file.records):
            raise StoreError(
                f"{file.path}: no file of aa's; only pairs of the same code tell rates"
            )
        if differing := differences(file.header, files[0].header):
            raise StoreError(f"{file.path} beside {files[0].path}: {'; '.join(differing)}")
    pairs = [pair for file in files for pair in _whole_pairs(file)]
    cells = set.intersection(*map(set, pairs)) if pairs else set()
    return [{cell: pair[cell] for cell in sorted(cells)} for pair in pairs if cells]


def _whole_pairs(file: Results) -> list[PairFigures]:
    """Return a file's first-stage pairs that have every cell; none if a slowdown was injected."""
    if any(isinstance(record, Versus) and record.injected for record in file.records):
        return []
    by_number: dict[int, PairFigures] = {}
    for record in file.records:
        if isinstance(record, Pair) and record.stage == "first":
            pair = by_number.setdefault(record.pair_number, {})
            pair[f"{record.variant} {record.case.id}"] = figure(record)
    cells = set().union(*by_number.values())
    return [pair for _, pair in sorted(by_number.items()) if pair.keys() == cells]


def calibrate(pairs: Sequence[PairFigures], gate: float, seed: int = 0) -> Calibration:
    """Return the rates of each number of pairs in `STAGES` that fits three times into `pairs`.

    A drawn comparison of n pairs takes up to 3n: n in the first stage and 2n in the second.
    `gate` is a share: 0.01 is 1%. Needs two pairs.
    """
    cells = list(pairs[0])
    spread = {cell: statistics.stdev(pair[cell] for pair in pairs) for cell in cells}
    counts = [count for count in STAGES if 3 * count <= len(pairs)]
    plans = [_plan(pairs, count, gate, Random(f"{seed} {count}")) for count in counts]
    return Calibration(len(pairs), spread, autocorrelation(pairs), plans)


def autocorrelation(pairs: Sequence[PairFigures]) -> float:
    """Return the correlation of successive pairs' figures, pooled over cells."""
    products = squares = 0.0
    for cell in pairs[0]:
        values = [pair[cell] for pair in pairs]
        centre = statistics.fmean(values)
        products += sum((a - centre) * (b - centre) for a, b in pairwise(values))
        squares += sum((a - centre) ** 2 for a in values)
    return products / squares if squares else 0.0


def _plan(pairs: Sequence[PairFigures], count: int, gate: float, random: Random) -> PairsPlan:
    alarms = sum("slower" in draw_verdicts(pairs, count, gate, random) for _ in range(RESAMPLES))
    power: dict[float, CountRate] = {}
    for effect in EFFECTS:
        hits = sum(_is_found(pairs, count, gate, effect, random) for _ in range(RESAMPLES_OF_POWER))
        power[effect] = CountRate(hits, RESAMPLES_OF_POWER)
    return PairsPlan(count, CountRate(alarms, RESAMPLES), power)


def _is_found(
    pairs: Sequence[PairFigures], count: int, gate: float, effect: float, random: Random
) -> bool:
    slowed = random.randrange(len(pairs[0]))
    return draw_verdicts(pairs, count, gate, random, slowed, math.log1p(effect))[slowed] == "slower"


def draw_verdicts(
    pairs: Sequence[PairFigures],
    count: int,
    gate: float,
    random: Random,
    slowed: int = 0,
    shift: float = 0.0,
) -> list[str]:
    """Return the verdicts of a comparison drawn from the pairs, of which it takes 3 * `count`.

    Cell `slowed` is shifted by `shift`, a log(head / base).
    """
    sample = [
        [sign * figure for figure in pair.values()]
        for pair in random.sample(list(pairs), 3 * count)
        for sign in (random.choice((-1, 1)),)
    ]
    cells = [list(figures) for figures in zip(*sample, strict=True)]
    cells[slowed] = [figure + shift for figure in cells[slowed]]
    first = [figures[:count] for figures in cells]
    flagged = suspects(paired_effects(first), gate)
    again = second_stage(count, len(flagged), len(cells))
    second = {cell: cells[cell][count : count + again] for cell in flagged}
    return [decision.verdict for decision in decide(first, second, gate)]
