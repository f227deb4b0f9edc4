"""The measured lengths by which a length that was not measured is judged."""

from collections.abc import Sequence

from variants.selection import Choice

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
