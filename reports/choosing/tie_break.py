"""The contest for one problem: whom a tie goes to, and when an incumbent yields.

A tie goes to the incumbent, the variant chosen before, and without one to the simpler, which comes
first in the catalog. An incumbent yields only where the fastest gains over 2%, and surely; over
the simpler a variant is ahead with a gain over 2%, or with any whose lower bound is above 0.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from reports.tables.estimates import Estimate, over_passes, series_ms
from reports.tables.rank import Times, log_ratios
from variants.catalog import ALIBI, BASELINE
from variants.selection.schema import Candidate, Choice, Objective, Problem

LEAST_GAIN = 0.02


class Contest(NamedTuple):
    """The candidates for a problem, the lowest score first, with their times."""

    candidates: Mapping[str, Candidate]
    times: Mapping[str, Times]
    objective: Objective

    def ratio(self, own: str, other: str) -> Estimate:
        """Return the score of one over another's, with an interval where passes give one."""
        if self.objective == "memory":
            exact = self.candidates[own].score / self.candidates[other].score
            return Estimate(exact, (exact, exact))
        if self.objective == "graph":
            mine, its = (_device_logs(self.times[name]) for name in (own, other))
            logs = [mine[place] - its[place] for place in mine if place in its]
        else:
            logs = log_ratios(own, other, self.times)
        return over_passes(logs) if logs else self._ratio_apart(own, other)

    def _ratio_apart(self, own: str, other: str) -> Estimate:
        """Return the ratio of two that never raced each other: each with its own baseline."""
        if self.objective == "eager" and BASELINE.name in self.times:
            logs = [log_ratios(name, BASELINE.name, self.times) for name in (own, other)]
            if all(logs):
                mine, its = map(over_passes, logs)
                within = None
                if mine.interval and its.interval:
                    (low, high), (its_low, its_high) = mine.interval, its.interval
                    within = low / its_high, high / its_low
                return Estimate(mine.value / its.value, within)
        return Estimate(self.candidates[own].score / self.candidates[other].score, None)


def _device_logs(times: Times) -> dict[tuple[int, int], float]:
    medians = {place: series_ms([time], "device") for place, time in times}
    return {place: math.log(ms) for place, ms in medians.items() if ms}


def decide_choice(problem: Problem, contest: Contest, incumbent: str | None) -> Choice:
    """Return the choice for a problem that the incumbent, if there is one, was chosen for."""
    names = list(contest.candidates)
    tied = [names[0], *(name for name in names[1:] if _are_tied(contest.ratio(name, names[0])))]
    simplest = min(tied, key=ALIBI.index)
    variant, why = simplest, _lead(contest, simplest, tied)
    if incumbent is not None and incumbent in contest.candidates and incumbent != simplest:
        stays = _why_it_stays(contest, incumbent, names[0])
        if stays is not None:
            variant, why = incumbent, stays
    return Choice(problem=problem, variant=variant, why=why, candidates=_relate(contest))


def _relate(contest: Contest) -> tuple[Candidate, ...]:
    """Return the candidates with their ratios to the first."""
    first, *others = contest.candidates.values()
    related = [msgspec.structs.replace(first, over_first=1.0, over_first_ci=(1.0, 1.0))]
    for one in others:
        value, interval = contest.ratio(one.variant, first.variant)
        related.append(msgspec.structs.replace(one, over_first=value, over_first_ci=interval))
    return tuple(related)


def _are_tied(to_fastest: Estimate) -> bool:
    """Whether a ratio to the fastest may be 1, and is known well enough to say so."""
    value, interval = to_fastest
    return interval is not None and interval[0] <= 1 and value <= 1 + LEAST_GAIN


def _lead(contest: Contest, variant: str, tied: Sequence[str]) -> str:
    """Return why a variant is ahead of the others."""
    others = [name for name in contest.candidates if name != variant]
    if not others:
        return "the only candidate"
    if len(tied) > 1:
        return f"tied with {', '.join(one for one in tied if one != variant)}; the simplest of them"
    value, interval = contest.ratio(others[0], variant)
    if interval is None:
        return f"{others[0]} takes {value:.2f}x, by too few passes for an interval"
    return f"{others[0]} takes {value:.2f}x ({interval[0]:.2f} to {interval[1]:.2f})"


def _why_it_stays(contest: Contest, incumbent: str, challenger: str) -> str | None:
    """Return why the incumbent stays, or None where it has to yield."""
    if incumbent == challenger:
        return "incumbent, and the fastest, if not surely"
    value, interval = contest.ratio(incumbent, challenger)
    gain = 1 - 1 / value
    if interval is None:
        return f"incumbent; that {challenger} gains {gain:.1%} has no interval: measure 3 passes"
    if gain <= LEAST_GAIN or interval[0] <= 1:
        return f"incumbent; {challenger} gains {gain:.1%}, not surely over {LEAST_GAIN:.0%}"
    return None
