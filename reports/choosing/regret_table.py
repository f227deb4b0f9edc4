"""Regret as a table: the cost of advice, how often it is the fastest, and flips of choices."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from reports.choosing.answer_text import problem_words
from reports.choosing.regret import Flips, PricedAdvice
from reports.text.grid import GridColumn, grid
from reports.text.paragraph import paragraph
from reports.text.screen import IN_A_PIPE, Screen
from suite.recordings.names import layer_name


class Summary(NamedTuple):
    """The regret over `problems` problems, as shares: mean, 95th percentile and largest.

    The counts: for `first` problems the advised variant was the fastest. `bounded` had a bound, and
    for `held` of these the regret was within it. For `lost` problems the advised variant disagreed
    or failed, so that they have no regret.
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
    """Return the figures of priced advice; None if none of it has a regret."""
    regrets = sorted(advice.regret for advice in priced if advice.regret is not None)
    if not regrets:
        return None
    pairs = [(advice.regret, advice.bound) for advice in priced]
    bounded = [pair for pair in pairs if None not in pair]
    return Summary(
        problems=len(priced),
        mean=math.fsum(regrets) / len(regrets),
        at_95=regrets[math.ceil(0.95 * len(regrets)) - 1],
        largest=regrets[-1],
        first=sum(advice.advised == advice.fastest for advice in priced),
        bounded=len(bounded),
        held=sum((regret or 0.0) <= (bound or 0.0) for regret, bound in bounded),
        lost=len(priced) - len(regrets),
    )


def render(
    parts_by_name: Mapping[str, Sequence[PricedAdvice]],
    flips: Flips,
    form: str,
    screen: Screen = IN_A_PIPE,
) -> str:
    """Return priced advice, a part for each way of pricing by its name, and the flips."""
    if form == "json":
        fields = {name: _fields(priced) for name, priced in parts_by_name.items()}
        text = msgspec.json.encode({**fields, "flips": flips._asdict()})
        return msgspec.json.format(text, indent=2).decode()
    parts = [part for name, priced in parts_by_name.items() for part in _part(name, priced, screen)]
    rate = f" ({flips.flipped / flips.problems:.0%})" if flips.problems else ""
    parts.append(f"Two tunings chose differently for {flips.flipped} of {flips.problems}{rate}.")
    return "\n\n".join(parts)


def _fields(priced: Sequence[PricedAdvice]) -> dict[str, object]:
    figures = summary(priced)
    return {
        "summary": None if figures is None else figures._asdict(),
        "priced": [advice._asdict() for advice in priced],
    }


def _words(advice: PricedAdvice) -> tuple[str, ...]:
    """Return the shape, length, dtype and mode; with the mode goes a recorded layer, if any."""
    *rest, mode = problem_words(advice.problem)
    return *rest, f"{mode}, {layer_name(advice.recording)}" if advice.recording else mode


def _part(name: str, priced: Sequence[PricedAdvice], screen: Screen) -> list[str]:
    figures = summary(priced)
    if figures is None and priced:
        return [f"{name}: in all {len(priced)} the advised variant did not run."]
    if figures is None:
        return [f"{name}: nothing to price."]
    words = (
        f"{name}: {figures.problems} problems; regret {figures.mean:.2%} in the mean, "
        f"{figures.at_95:.2%} at the 95th percentile, {figures.largest:.2%} at most; the fastest "
        f"itself in {figures.first}; the bound held in {figures.held} of {figures.bounded}"
        + (f"; in {figures.lost} the advised variant did not run." if figures.lost else ".")
    )
    by_shape: dict[str, list[PricedAdvice]] = {}
    for advice in priced:
        by_shape.setdefault(problem_words(advice.problem)[0], []).append(advice)
    tables = [f"{shape}\n\n{_table(part, screen)}" for shape, part in by_shape.items()]
    return [*tables, paragraph(words, screen.width, "  ")]


def _table(priced: Sequence[PricedAdvice], screen: Screen) -> str:
    ordered = sorted(priced, key=lambda advice: advice.problem.kv_len)
    problems = [_words(advice) for advice in ordered]
    regrets = ["lost" if each.regret is None else f"{each.regret:.1%}" for each in ordered]
    bounds = ["" if each.bound is None else f"{each.bound:.1%}" for each in ordered]
    columns = [
        GridColumn("length", [length for _, length, _, _ in problems], right=True),
        GridColumn("dtype", [dtype for _, _, dtype, _ in problems]),
        GridColumn("mode", [mode for *_, mode in problems], wraps=True),
        GridColumn("advised", [advice.advised for advice in ordered], wraps=True),
        GridColumn("fastest", [advice.fastest for advice in ordered], wraps=True),
        GridColumn("regret", regrets, right=True),
        GridColumn("bound", bounds, right=True),
    ]
    return grid(columns, screen.width)
