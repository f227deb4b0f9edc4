"""Decides the choice for one problem: the fastest candidate, unless there is a tie.

- A candidate is tied with the fastest if it is at most 2% slower and the interval of its ratio to
  the fastest reaches down to 1. Of tied candidates the simplest is chosen, the first in the
  catalog.
- An incumbent, the variant chosen before, stays unless the fastest gains over 2% and the interval
  of the ratio is above 1.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from reports.tables.estimates import Estimate, mean_over_passes, series_ms
from reports.tables.rank import Times, log_ratios
from variants.catalog import ALIBI, BASELINE
from variants.selection.schema import Candidate, Choice, Objective, Problem

LEAST_GAIN = 0.02
"""The share of its time that a variant must gain to replace an incumbent or a simpler variant."""


class Contest(NamedTuple):
    """The candidates for a problem by variant, the lowest score first, with their times."""

    candidates: Mapping[str, Candidate]
    times: Mapping[str, Times]
    objective: Objective

    def ratio(self, variant: str, other: str) -> Estimate:
        """Return the score of `variant` over that of `other`, with an interval from 3 passes on."""
        if self.objective == "memory":
            exact = self.candidates[variant].score / self.candidates[other].score
            return Estimate(exact, (exact, exact))
        if self.objective == "graph":
            first, second = (_device_logs(self.times[name]) for name in (variant, other))
            logs = [first[place] - second[place] for place in first if place in second]
        else:
            logs = log_ratios(variant, other, self.times)
        return mean_over_passes(logs) if logs else self._ratio_apart(variant, other)

    def _ratio_apart(self, variant: str, other: str) -> Estimate:
        """Return the ratio of two variants that share no pass, each over the baseline of its races.

        The interval is the widest that the two intervals allow. Without a baseline the ratio of the
        scores is all there is.
        """
        if self.objective == "eager" and BASELINE.name in self.times:
            logs = [log_ratios(name, BASELINE.name, self.times) for name in (variant, other)]
            if all(logs):
                first, second = map(mean_over_passes, logs)
                interval = None
                if first.interval and second.interval:
                    (low, high), (other_low, other_high) = first.interval, second.interval
                    interval = low / other_high, high / other_low
                return Estimate(first.value / second.value, interval)
        return Estimate(self.candidates[variant].score / self.candidates[other].score, None)


def _device_logs(times: Times) -> dict[tuple[int, int], float]:
    medians = {place: series_ms([time], "device") for place, time in times}
    return {place: math.log(ms) for place, ms in medians.items() if ms}


def decide_choice(problem: Problem, contest: Contest, incumbent: str | None) -> Choice:
    """Return the choice for a problem. `incumbent` is the variant chosen for it before, or None."""
    names = list(contest.candidates)
    tied = [names[0], *(name for name in names[1:] if _are_tied(contest.ratio(name, names[0])))]
    simplest = min(tied, key=_complexity)
    variant, why = simplest, _lead(contest, simplest, tied)
    if incumbent is not None and incumbent in contest.candidates and incumbent != simplest:
        stays = _why_it_stays(contest, incumbent, names[0])
        if stays is not None:
            variant, why = incumbent, stays
    return Choice(problem=problem, variant=variant, why=why, candidates=_relate(contest))


def _complexity(variant: str) -> int:
    """Return a variant's place in the catalog; what is not ours comes last."""
    return ALIBI.index(variant) if variant in ALIBI else len(ALIBI)


def _relate(contest: Contest) -> tuple[Candidate, ...]:
    """Return the candidates, each with the ratio of its score to that of the first."""
    first, *others = contest.candidates.values()
    related = [msgspec.structs.replace(first, over_first=1.0, over_first_ci=(1.0, 1.0))]
    for other in others:
        value, interval = contest.ratio(other.variant, first.variant)
        related.append(msgspec.structs.replace(other, over_first=value, over_first_ci=interval))
    return tuple(related)


def _are_tied(to_fastest: Estimate) -> bool:
    """Return whether a ratio to the fastest is at most 1.02 and its interval reaches down to 1."""
    value, interval = to_fastest
    return interval is not None and interval[0] <= 1 and value <= 1 + LEAST_GAIN


def _lead(contest: Contest, variant: str, tied: Sequence[str]) -> str:
    """Return in words why a variant is chosen over the others."""
    others = [name for name in contest.candidates if name != variant]
    if not others:
        return "the only candidate"
    if len(tied) > 1:
        return (
            f"tied with {', '.join(name for name in tied if name != variant)}; the simplest of them"
        )
    value, interval = contest.ratio(others[0], variant)
    if interval is None:
        return f"{others[0]} takes {value:.2f}x, by too few passes for an interval"
    return f"{others[0]} takes {value:.2f}x ({interval[0]:.2f} to {interval[1]:.2f})"


def _why_it_stays(contest: Contest, incumbent: str, challenger: str) -> str | None:
    """Return in words why the incumbent stays, or None if it is replaced."""
    if incumbent == challenger:
        return "incumbent, and the fastest, if not surely"
    value, interval = contest.ratio(incumbent, challenger)
    gain = 1 - 1 / value
    if interval is None:
        return f"incumbent; that {challenger} gains {gain:.1%} has no interval: measure 3 passes"
    if gain <= LEAST_GAIN or interval[0] <= 1:
        return f"incumbent; {challenger} gains {gain:.1%}, not surely over {LEAST_GAIN:.0%}"
    return None
