"""What each variant is expected to cost at a length, from measurements around that length.

Between two lengths and beyond the longest, a variant's score, time and memory are straight lines in
log(figure) over log(length). Below the shortest length they are those of the shortest: a shorter
call has fixed costs that no line shows, and takes at most as long. The variant with the lowest
score at the length is chosen. By the objective "eager" the score is the time, so that the chosen
variant is never expected to be slower than another.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

from variants.selection.schema import Candidate, Choice, Objective
from variants.selection.similarity import growth

Kind = Literal["exact", "interpolated", "extrapolated"]
_LARGEST_LOG = 600.0  # limit for lines through noisy points; exp(600) is still a float
KINDS: tuple[Kind, ...] = get_args(Kind)


class ExpectedScore(NamedTuple):
    """What a variant should cost; the ends of the time's interval are None where none is known.

    `score` is what the objective ranks by, as in a `Candidate`.
    """

    variant: str
    score: float
    time_ms: float
    time_low_ms: float | None
    time_high_ms: float | None


class Forecast(NamedTuple):
    """The candidates at a length, the best first, and how far the forecast can be trusted.

    `kind` says where the length lies among the measured `lengths`. `regret_at_most` is how much
    slower the best candidate may be than the fastest, as a share, by the intervals at the worse of
    the two ends. Between the ends that holds if the ratio of two variants only rises or only falls.
    It is None where an interval is missing, and where the best candidate was measured alone.
    """

    kind: Kind
    lengths: tuple[int, ...]
    ranking: list[ExpectedScore]
    regret_at_most: float | None


def forecast(
    family: Sequence[Choice], length: int, max_bytes: float | None, objective: Objective
) -> Forecast | None:
    """Return the forecast for a length from one family, whose choices come by rising length.

    `objective` says what the scores are. Returns None where no variant was measured at every end
    and takes at most `max_bytes`.
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
    expected = [_line(candidates, lengths, length, power, objective) for candidates in fitting]
    if lengths == (length,):
        ranking = sorted(expected, key=lambda each: each.variant != ends[0].variant)
        return Forecast("exact", lengths, ranking, _regret(ends, ranking[0].variant))
    ranking = sorted(expected, key=lambda each: each.score)
    if lengths[0] <= length <= lengths[-1]:
        return Forecast("interpolated", lengths, ranking, _regret(ends, ranking[0].variant))
    return Forecast("extrapolated", lengths, ranking, None)


def scale(expected: ExpectedScore, factor: float) -> ExpectedScore:
    """Return what a variant should cost for `factor` times the work."""
    low, high = expected.time_low_ms, expected.time_high_ms
    return ExpectedScore(
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


def _line(
    points: Sequence[Candidate],
    lengths: Sequence[int],
    length: int,
    power: float,
    objective: Objective,
) -> ExpectedScore:
    def at(values: Sequence[float]) -> float:
        return _through(values, lengths, length, power)

    score = at([point.score for point in points])
    time_ms = at([point.time_ms for point in points])
    low, high = _interval(points, at) if lengths[0] <= length <= lengths[-1] else (None, None)
    if objective == "eager":
        # The score is the time by ratios of the same rounds; the times themselves are of any round.
        low, high = (None if end is None else end * score / time_ms for end in (low, high))
        time_ms = score
    return ExpectedScore(points[0].variant, score, time_ms, low, high)


def _interval(
    points: Sequence[Candidate], at: Callable[[Sequence[float]], float]
) -> tuple[float | None, float | None]:
    intervals = [point.time_ci_ms for point in points if point.time_ci_ms is not None]
    if len(intervals) < len(points):
        return None, None
    return at([low for low, _ in intervals]), at([high for _, high in intervals])


def _bytes(points: Sequence[Candidate], lengths: Sequence[int], length: int, power: float) -> float:
    """Return the bytes at a length; infinite where they were not measured at every end."""
    sizes = [float(max(1, point.bytes)) for point in points if point.bytes is not None]
    is_measured = len(sizes) == len(points)
    return _through(sizes, lengths, length, power) if is_measured else math.inf


def _through(values: Sequence[float], lengths: Sequence[int], length: int, power: float) -> float:
    """Return the value at a length, on the line in log over log through the one or two values.

    Through a single value the line has the slope `power`. Below the shortest length it is flat.
    """
    if length <= lengths[0]:
        return values[0]
    logs = [math.log(value) for value in values]
    if len(values) == 2:
        power = (logs[1] - logs[0]) / math.log(lengths[1] / lengths[0])
    log = logs[0] + power * math.log(length / lengths[0])
    return math.exp(max(-_LARGEST_LOG, min(_LARGEST_LOG, log)))


def _regret(ends: Sequence[Choice], variant: str) -> float | None:
    """Return the largest share that another variant may gain at any end, by paired intervals."""
    losses = []
    for end in ends:
        intervals = {candidate.variant: candidate.over_first_ci for candidate in end.candidates}
        interval = intervals.pop(variant)
        for other in intervals.values():
            if interval is None or other is None:
                return None
            losses.append(interval[1] / other[0] - 1)
    return max(0.0, *losses) if losses else None


_LEAST_LENGTH_RATIO = (
    1.25  # closer lengths than this ratio give a line of noise, not to be extrapolated
)


def ends_of(family: Sequence[Choice], length: int) -> Sequence[Choice]:
    """Return the measured choices that a forecast for a length starts from.

    They are the choice at the length itself; or the nearest shorter and the nearest longer; or the
    shortest, if all are longer; or the longest and another, if all are shorter. `family` is one
    family, by rising length.
    """
    shorter = [choice for choice in family if choice.problem.kv_len <= length]
    longer = [choice for choice in family if choice.problem.kv_len > length]
    if shorter and shorter[-1].problem.kv_len == length:
        return shorter[-1:]
    if shorter and longer:
        return shorter[-1], longer[0]
    if longer:
        return longer[:1]
    nearest, *further = reversed(shorter)
    another = [
        choice
        for choice in further
        if _ratio(nearest, choice) >= _LEAST_LENGTH_RATIO and _meet(nearest, choice)
    ][:1]
    return [*another, nearest]


def _meet(first: Choice, second: Choice) -> bool:
    """Whether a variant was measured at both, so that a line can be drawn."""
    names = {candidate.variant for candidate in second.candidates}
    return any(candidate.variant in names for candidate in first.candidates)


def _ratio(longer: Choice, shorter: Choice) -> float:
    return longer.problem.kv_len / shorter.problem.kv_len
