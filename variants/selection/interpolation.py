"""What each variant is expected to cost at a length, from measurements around that length.

Between two lengths a variant's score, time and memory are straight lines in log(figure) over
log(length). The variant with the lowest score at the length is chosen.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from variants.selection.schema import Candidate, Choice
from variants.selection.similarity import growth

Kind = Literal["exact", "interpolated", "extrapolated"]
_LARGEST_LOG = 600.0  # limit for lines through noisy points; exp(600) is still a float
KINDS: tuple[Kind, ...] = get_args(Kind)


class Expected(NamedTuple):
    """What a variant should cost; `low_ms` and `high_ms` are None where no interval is known."""

    variant: str
    score: float
    time_ms: float
    low_ms: float | None
    high_ms: float | None


class Forecast(NamedTuple):
    """The candidates at a length, the best first, and how far the forecast can be trusted.

    `kind` says where the length lies among the measured `lengths`. `regret_at_most` is how much
    slower the best candidate may be than the fastest, as a share, by the intervals at the worse of
    the two ends. Between the ends that holds if the ratio of two variants only rises or only falls.
    """

    kind: Kind
    lengths: tuple[int, ...]
    ranking: list[Expected]
    regret_at_most: float | None


def forecast(family: Sequence[Choice], length: int, max_bytes: float | None) -> Forecast | None:
    """Return the forecast for a length from one family, whose choices come by rising length.

    Returns None where no variant was measured at every end and takes at most `max_bytes`.
    """
    ends = ends_of(family, length)
    lengths = tuple(end.problem.kv_len for end in ends)
    power = growth(ends[0].problem)
    # A variant is missing at an end where it disagreed, did not fit, or was not measured.
    at_ends = [
        candidates
        for name in _names(ends[-1])
        if len(candidates := _candidates_of(ends, name)) == len(ends)
    ]
    fitting = [
        candidates
        for candidates in at_ends
        if max_bytes is None or _bytes(candidates, lengths, length, power) <= max_bytes
    ]
    if not fitting:
        return None
    if lengths == (length,):
        ranking = _rank_exact([candidate for (candidate,) in fitting], ends[0].variant)
        return Forecast("exact", lengths, ranking, _regret(ends, ranking[0].variant))
    ranking = sorted(
        (_line(candidates, lengths, length, power) for candidates in fitting),
        key=lambda expected: expected.score,
    )
    if lengths[0] <= length <= lengths[-1]:
        return Forecast("interpolated", lengths, ranking, _regret(ends, ranking[0].variant))
    return Forecast("extrapolated", lengths, ranking, None)


def scale(expected: Expected, factor: float) -> Expected:
    """Return what a variant should cost for `factor` times the work."""
    low, high = expected.low_ms, expected.high_ms
    return Expected(
        expected.variant,
        expected.score * factor,
        expected.time_ms * factor,
        None if low is None else low * factor,
        None if high is None else high * factor,
    )


def _names(end: Choice) -> list[str]:
    return [candidate.variant for candidate in end.candidates]


def _candidates_of(ends: Sequence[Choice], variant: str) -> list[Candidate]:
    return [
        candidate for end in ends for candidate in end.candidates if candidate.variant == variant
    ]


def _rank_exact(candidates: Sequence[Candidate], best: str) -> list[Expected]:
    ranking = sorted(candidates, key=lambda candidate: candidate.variant != best)
    return [_point(candidate) for candidate in ranking]


def _point(candidate: Candidate) -> Expected:
    low, high = candidate.time_ci_ms or (None, None)
    return Expected(candidate.variant, candidate.score, candidate.time_ms, low, high)


def _line(
    points: Sequence[Candidate], lengths: Sequence[int], length: int, power: float
) -> Expected:
    def at(values: Sequence[float]) -> float:
        return _through(values, lengths, length, power)

    intervals = [point.time_ci_ms for point in points if point.time_ci_ms is not None]
    is_bounded = len(intervals) == len(points) and lengths[0] <= length <= lengths[-1]
    return Expected(
        points[0].variant,
        at([point.score for point in points]),
        at([point.time_ms for point in points]),
        at([low for low, _ in intervals]) if is_bounded else None,
        at([high for _, high in intervals]) if is_bounded else None,
    )


def _bytes(points: Sequence[Candidate], lengths: Sequence[int], length: int, power: float) -> float:
    """Return the bytes at a length; infinite where they were not measured at every end."""
    sizes = [float(max(1, point.bytes)) for point in points if point.bytes is not None]
    is_measured = len(sizes) == len(points)
    return _through(sizes, lengths, length, power) if is_measured else math.inf


def _through(values: Sequence[float], lengths: Sequence[int], length: int, power: float) -> float:
    """Return the value at a length, on the line in log over log through the one or two values.

    Through a single value the line has the slope `power`.
    """
    logs = [math.log(value) for value in values]
    if len(values) == 2:
        power = (logs[1] - logs[0]) / math.log(lengths[1] / lengths[0])
    log = logs[0] + power * math.log(length / lengths[0])
    return math.exp(max(-_LARGEST_LOG, min(_LARGEST_LOG, log)))


def _regret(ends: Sequence[Choice], variant: str) -> float | None:
    """Return the largest share that another variant may gain at any end, by paired intervals."""
    losses = [0.0]
    for end in ends:
        intervals = {candidate.variant: candidate.over_first_ci for candidate in end.candidates}
        interval = intervals.pop(variant)
        for other in intervals.values():
            if interval is None or other is None:
                return None
            losses.append(interval[1] / other[0] - 1)
    return max(losses)


_APART = 1.25  # closer lengths than this ratio give a line of noise, not to be extrapolated


def ends_of(family: Sequence[Choice], length: int) -> Sequence[Choice]:
    """Return the measured choices that a forecast for a length starts from.

    They are the choice at the length itself; or the nearest shorter and the nearest longer; or, if
    all lie on one side, the nearest and another. `family` is one family, by rising length.
    """
    shorter = [choice for choice in family if choice.problem.kv_len <= length]
    longer = [choice for choice in family if choice.problem.kv_len > length]
    if shorter and shorter[-1].problem.kv_len == length:
        return shorter[-1:]
    if shorter and longer:
        return shorter[-1], longer[0]
    nearest, *further = longer or reversed(shorter)
    another = [
        choice for choice in further if _ratio(nearest, choice) >= _APART and _meet(nearest, choice)
    ][:1]
    return [nearest, *another] if longer else [*another, nearest]


def _meet(first: Choice, second: Choice) -> bool:
    """Whether a variant was measured at both, so that a line can be drawn."""
    names = {candidate.variant for candidate in second.candidates}
    return any(candidate.variant in names for candidate in first.candidates)


def _ratio(first: Choice, second: Choice) -> float:
    lengths = first.problem.kv_len, second.problem.kv_len
    return max(lengths) / min(lengths)
