"""The steps of a history, each with its size, its interval, and its cause: code or not.

Runs of one environment form a stretch. Inside of a stretch steps are searched for
(change_points.py). Where the environment changes there may be a step at that place, and then it is
the environment's, whatever the code did. Any other step is the code's, with three exceptions:

- The code is the same before and after, wherever near the step may be: it is the machine's.
- Another unit of the hardware measured from there on (units.py): it is the machine's.
- The canary has moved in the same direction between the same runs, and what remains of the step
  without the canary's move is up to 1%, or includes 0 in its 95% interval: it is the machine's. If
  more remains, that remainder is the code's.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec

from reports.history.change_points import (
    FEWEST_RUNS,
    chance,
    change_points,
    is_step,
    plausible_places,
    step_effect,
)
from reports.history.environment import changes, environment
from reports.history.series import CellHistory, SeriesPoint
from reports.history.units import other_unit
from reports.verdicts.moderated_t import Effect, interval

Cause = Literal["code", "environment", "machine"]

SAME_CODE = "the same code before and after"

CHANCE_OF_REST = 0.05
"""The p-value up to which more than the canary moved: the 95% interval of the rest excludes 0."""


class HistoryStep(msgspec.Struct, frozen=True):
    """A lasting change of a cell's time, at the run that began at `started`.

    `change` is a share: 0.05 is 5% slower; `change_ci` is its 95% interval. `first_code` measured
    the first run after the most likely place; `codes` are all that may have brought the step, in
    the order of their runs. `place` counts the cell's undisturbed runs before the step.
    """

    hardware_key: str
    case: str
    variant: str
    place: int
    started: str
    change: float
    change_ci: tuple[float, float]
    cause: Cause
    reason: str
    first_code: str
    codes: tuple[str, ...]

    @property
    def is_regression(self) -> bool:
        """Whether the cell got slower by what is not known to be other than the code."""
        return self.change > 0 and self.cause == "code"


class _Span(NamedTuple):
    """A step at `place`, between the levels of points[low:place] and points[place:high]."""

    low: int
    place: int
    high: int


def steps_of(cell: CellHistory) -> list[HistoryStep]:
    """Return a cell's steps in their order; none for under FEWEST_RUNS undisturbed times.

    Raises NoRuptures if ruptures is not installed.
    """
    points = cell.steady
    if len(points) < FEWEST_RUNS:
        return []
    logs = [point.log_ms for point in points]
    moves = _environment_changes(cell.variant, points)
    inner = [
        start + place
        for start, end in pairwise([0, *moves, len(points)])
        for place in change_points(logs[start:end])
    ]
    steps = []
    for span in _spans(sorted([*moves, *inner]), len(points)):
        if span.place in moves:
            step = _environment_step(cell, points, span, moves[span.place])
        else:
            step = _inner_step(cell, points, span)
        steps += [] if step is None else [step]
    return steps


def longest_stretch(cell: CellHistory) -> int:
    """Return the most undisturbed runs that a cell has in one environment without a change."""
    points = cell.steady
    edges = [0, *_environment_changes(cell.variant, points), len(points)]
    return max(end - start for start, end in pairwise(edges))


def _environment_changes(variant: str, points: Sequence[SeriesPoint]) -> dict[int, str]:
    """Return the places at which a new environment begins, each with what changed."""
    environments = [environment(point.run.header, variant) for point in points]
    phrases = {
        place: changes(before, after)
        for place, (before, after) in enumerate(pairwise(environments), start=1)
    }
    return {place: phrase for place, phrase in phrases.items() if phrase}


def _spans(places: Sequence[int], runs: int) -> list[_Span]:
    edges = [0, *places, runs]
    return [_Span(*edges[number : number + 3]) for number in range(len(places))]


def _environment_step(
    cell: CellHistory, points: Sequence[SeriesPoint], span: _Span, reason: str
) -> HistoryStep | None:
    effect = _effect([point.log_ms for point in points], span)
    if not is_step(effect):
        return None
    reasons = "; ".join(filter(None, [reason, _other_unit(points, span)]))
    return _step(cell, points, span.place, effect, "environment", reasons)


def _inner_step(cell: CellHistory, points: Sequence[SeriesPoint], span: _Span) -> HistoryStep:
    logs = [point.log_ms for point in points]
    effect = _effect(logs, span)
    places = [
        place
        for place in plausible_places(logs, span.low, span.high)
        if points[place].run.code != points[place - 1].run.code
    ]
    unit = _other_unit(points, span)
    if not places:
        reasons = "; ".join(filter(None, [SAME_CODE, unit]))
        return _step(cell, points, span.place, effect, "machine", reasons)
    codes = tuple(dict.fromkeys(points[place].run.code for place in sorted(places)))
    if unit:
        return _step(cell, points, places[0], effect, "machine", unit, codes)
    canary = _canary_effect(points, span)
    if canary is None:
        return _step(cell, points, places[0], effect, "code", "", codes)
    rest = _difference(effect, canary)
    moved = f"the canary moved by {math.expm1(canary.estimate):+.1%} in the same runs"
    if chance(rest) > CHANCE_OF_REST or rest.estimate * effect.estimate < 0:
        return _step(cell, points, places[0], effect, "machine", moved, codes)
    return _step(cell, points, places[0], rest, "code", f"{moved}, which is taken off", codes)


def _canary_effect(points: Sequence[SeriesPoint], span: _Span) -> Effect | None:
    """Return the canary's own step between a step's runs; None unless both go the same way."""
    canaries = [point.run.log_canary for point in points]
    logs = [canary for canary in canaries[span.low : span.high] if canary is not None]
    if len(logs) < span.high - span.low:
        return None
    split = span.place - span.low
    effect = step_effect(logs[:split], logs[split:])
    cells = _effect([point.log_ms for point in points], span)
    return effect if is_step(effect) and effect.estimate * cells.estimate > 0 else None


def _other_unit(points: Sequence[SeriesPoint], span: _Span) -> str:
    return other_unit(points[span.low : span.place], points[span.place : span.high])


def _effect(logs: Sequence[float], span: _Span) -> Effect:
    return step_effect(logs[span.low : span.place], logs[span.place : span.high])


def _difference(effect: Effect, canary: Effect) -> Effect:
    return Effect(
        effect.estimate - canary.estimate,
        math.hypot(effect.standard_error, canary.standard_error),
        min(effect.freedom, canary.freedom),
    )


def _step(
    cell: CellHistory,
    points: Sequence[SeriesPoint],
    place: int,
    effect: Effect,
    cause: Cause,
    reason: str,
    codes: tuple[str, ...] = (),
) -> HistoryStep:
    low, high = interval(effect)
    run = points[place].run
    return HistoryStep(
        hardware_key=cell.hardware_key,
        case=cell.case.id,
        variant=cell.variant,
        place=place,
        started=run.header.started,
        change=math.expm1(effect.estimate),
        change_ci=(math.expm1(low), math.expm1(high)),
        cause=cause,
        reason=reason,
        first_code=run.code,
        codes=codes or (run.code,),
    )
