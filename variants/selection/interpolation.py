"""What each variant is expected to cost at a length, from what was measured around it.

Between two lengths a variant's score, time and memory are straight lines in log(figure) over
log(length); the variant is the one with the lowest score there.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from variants.selection.schema import Candidate, Choice
from variants.selection.similarity import growth

Kind = Literal["exact", "interpolated", "extrapolated"]
_LARGEST_LOG = 600.0  # of what noisy points may lead to, up or down, short of what a float holds
KINDS: tuple[Kind, ...] = get_args(Kind)


class Expected(NamedTuple):
    """What a variant is expected to cost; `low_ms` and `high_ms` are None without intervals."""

    variant: str
    score: float
    time_ms: float
    low_ms: float | None
    high_ms: float | None


class Forecast(NamedTuple):
    """The candidates at a length, the chosen one first, and how far that can be trusted.

    `kind` says where the length lies among those measured. `regret_at_most` is how much slower
    than the fastest the chosen one may be, as a share: at the worse of the two ends, by their
    intervals. It holds between them if the ratio of two variants moves one way there.
    """

    kind: Kind
    lengths: tuple[int, ...]
    ranking: list[Expected]
    regret_at_most: float | None


def forecast(family: Sequence[Choice], length: int, max_bytes: float | None) -> Forecast | None:
    """Return the estimate at a length of one family, whose choices come by rising length.

    None where no variant was measured at both ends, or keeps `max_bytes`.
    """
    ends = ends_of(family, length)
    lengths = tuple(end.problem.kv_len for end in ends)
    power = growth(ends[0].problem)
    # A variant that lacks one of the ends disagreed there, did not fit, or was not measured.
    at_ends = [
        own for name in _names(ends[-1]) if len(own := _candidates_of(ends, name)) == len(ends)
    ]
    fitting = [
        own
        for own in at_ends
        if max_bytes is None or _bytes(own, lengths, length, power) <= max_bytes
    ]
    if not fitting:
        return None
    if lengths == (length,):
        ranking = _as_chosen([own for (own,) in fitting], ends[0].variant)
        return Forecast("exact", lengths, ranking, _regret(ends, ranking[0].variant))
    ranking = sorted(
        (_line(own, lengths, length, power) for own in fitting), key=lambda one: one.score
    )
    if lengths[0] <= length <= lengths[-1]:
        return Forecast("interpolated", lengths, ranking, _regret(ends, ranking[0].variant))
    return Forecast("extrapolated", lengths, ranking, None)


def scale(expected: Expected, factor: float) -> Expected:
    """Return what is expected where there is so many times the work."""
    low, high = expected.low_ms, expected.high_ms
    return Expected(
        expected.variant,
        expected.score * factor,
        expected.time_ms * factor,
        None if low is None else low * factor,
        None if high is None else high * factor,
    )


def _names(end: Choice) -> list[str]:
    return [one.variant for one in end.candidates]


def _candidates_of(ends: Sequence[Choice], variant: str) -> list[Candidate]:
    return [one for end in ends for one in end.candidates if one.variant == variant]


def _as_chosen(candidates: Sequence[Candidate], chosen: str) -> list[Expected]:
    return [_point(one) for one in sorted(candidates, key=lambda one: one.variant != chosen)]


def _point(one: Candidate) -> Expected:
    low, high = one.time_ci_ms or (None, None)
    return Expected(one.variant, one.score, one.time_ms, low, high)


def _line(own: Sequence[Candidate], lengths: Sequence[int], length: int, power: float) -> Expected:
    def at(values: Sequence[float]) -> float:
        return _through(values, lengths, length, power)

    intervals = [one.time_ci_ms for one in own if one.time_ci_ms is not None]
    known = len(intervals) == len(own) and lengths[0] <= length <= lengths[-1]
    return Expected(
        own[0].variant,
        at([one.score for one in own]),
        at([one.time_ms for one in own]),
        at([low for low, _ in intervals]) if known else None,
        at([high for _, high in intervals]) if known else None,
    )


def _bytes(own: Sequence[Candidate], lengths: Sequence[int], length: int, power: float) -> float:
    """Return the bytes at a length; without end where one of the ends was not weighed."""
    weights = [float(max(1, one.bytes)) for one in own if one.bytes is not None]
    whole = len(weights) == len(own)
    return _through(weights, lengths, length, power) if whole else math.inf


def _through(values: Sequence[float], lengths: Sequence[int], length: int, power: float) -> float:
    """Return the value at a length on the line through two points, or of `power` through one."""
    logs = [math.log(value) for value in values]
    if len(values) == 2:
        power = (logs[1] - logs[0]) / math.log(lengths[1] / lengths[0])
    log = logs[0] + power * math.log(length / lengths[0])
    return math.exp(max(-_LARGEST_LOG, min(_LARGEST_LOG, log)))


def _regret(ends: Sequence[Choice], variant: str) -> float | None:
    """Return the worst over the ends of what may be lost to any other, by paired intervals."""
    losses = [0.0]
    for end in ends:
        intervals = {one.variant: one.over_first_ci for one in end.candidates}
        own = intervals.pop(variant)
        for other in intervals.values():
            if own is None or other is None:
                return None
            losses.append(own[1] / other[0] - 1)
    return max(losses)


_APART = 1.25  # through lengths any closer a line follows noise, and is not followed beyond them


def ends_of(family: Sequence[Choice], length: int) -> Sequence[Choice]:
    """Return the choices at a length, or around it, or on its one side the nearest and another.

    The choices are of one family and come by rising length.
    """
    shorter = [one for one in family if one.problem.kv_len <= length]
    longer = [one for one in family if one.problem.kv_len > length]
    if shorter and shorter[-1].problem.kv_len == length:
        return shorter[-1:]
    if shorter and longer:
        return shorter[-1], longer[0]
    nearest, *further = longer or reversed(shorter)
    another = [one for one in further if _ratio(nearest, one) >= _APART and _meet(nearest, one)][:1]
    return [nearest, *another] if longer else [*another, nearest]


def _meet(one: Choice, other: Choice) -> bool:
    """Whether any variant was measured at both, so that there is a line to follow."""
    names = {candidate.variant for candidate in other.candidates}
    return any(candidate.variant in names for candidate in one.candidates)


def _ratio(one: Choice, other: Choice) -> float:
    lengths = one.problem.kv_len, other.problem.kv_len
    return max(lengths) / min(lengths)
