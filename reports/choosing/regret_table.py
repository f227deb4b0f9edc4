"""Regret in words: how much the advice costs, how often it is the fastest, and how it flips."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from tabulate import tabulate

from reports.choosing.answer_text import problem_words
from reports.choosing.regret import Flips, PricedAdvice


class Summary(NamedTuple):
    """Of so many problems the mean, 95th percentile and largest regret, and two shares.

    `first` of them were advised the fastest itself, `bounded` had a bound, which `held`; for
    `lost` what was advised did not run there, and they have no regret.
    """

    problems: int
    mean: float
    at_95: float
    largest: float
    first: int
    bounded: int
    held: int
    lost: int


def summary(priced: Sequence[PricedAdvice]) -> Summary | None:
    """Return the figures of what was priced, None of nothing."""
    known = sorted(one.regret for one in priced if one.regret is not None)
    if not known:
        return None
    bounded = [(one.regret, one.bound) for one in priced if None not in (one.regret, one.bound)]
    return Summary(
        problems=len(priced),
        mean=math.fsum(known) / len(known),
        at_95=known[math.ceil(0.95 * len(known)) - 1],
        largest=known[-1],
        first=sum(one.advised == one.fastest for one in priced),
        bounded=len(bounded),
        held=sum((regret or 0.0) <= (bound or 0.0) for regret, bound in bounded),
        lost=len(priced) - len(known),
    )


def render(found: Mapping[str, Sequence[PricedAdvice]], flips: Flips, form: str) -> str:
    """Return what was priced, a part for each way of pricing, and the flips."""
    if form == "json":
        told = {
            name: {"summary": _asdict(summary(priced)), "priced": [one._asdict() for one in priced]}
            for name, priced in found.items()
        }
        text = msgspec.json.encode({**told, "flips": flips._asdict()})
        return msgspec.json.format(text, indent=2).decode()
    parts = [part for name, priced in found.items() for part in _part(name, priced, form)]
    rate = f" ({flips.flipped / flips.problems:.0%})" if flips.problems else ""
    parts.append(f"Two tunings chose differently for {flips.flipped} of {flips.problems}{rate}.")
    return "\n\n".join(parts)


def _asdict(found: Summary | None) -> dict[str, object] | None:
    return None if found is None else found._asdict()


def _part(name: str, priced: Sequence[PricedAdvice], form: str) -> list[str]:
    figures = summary(priced)
    if figures is None and priced:
        return [f"{name}: in all {len(priced)} the advised variant did not run."]
    if figures is None:
        return [f"{name}: nothing to price."]
    lines = [
        (
            *problem_words(one.problem),
            one.advised,
            one.fastest,
            "lost" if one.regret is None else f"{one.regret:.1%}",
            "" if one.bound is None else f"{one.bound:.1%}",
        )
        for one in priced
    ]
    headers = ("shape", "length", "dtype", "mode", "advised", "fastest", "regret", "bound")
    words = (
        f"{name}: {figures.problems} problems; regret {figures.mean:.2%} in the mean, "
        f"{figures.at_95:.2%} at the 95th percentile, {figures.largest:.2%} at most; the fastest "
        f"itself in {figures.first}; the bound held in {figures.held} of {figures.bounded}"
        + (f"; in {figures.lost} the advised variant did not run." if figures.lost else ".")
    )
    return [tabulate(lines, headers, form, disable_numparse=True), words]
