"""Which variant to use for a problem on a device, and the ground for it; imports no torch.

The grounds are tried in this order, and the answer names the first that gave a variant:

    exact          this device and software measured this very problem
    interpolated   they measured the same shape at a shorter and at a longer length
    extrapolated   they measured it at shorter lengths only, or at longer lengths only: then a
                   call takes at most what it took at the shortest
    stale          this device measured it with other software or threads
    alike          this device measured another shape of the same dtype and mode
    architecture   another device of the same architecture measured it
    static         nothing was measured: a fixed order, whose variants are tried one after another

If all measured lengths are over 4 times shorter, or all over 4 times longer, than the problem, the
following grounds but `static` are tried first: a short length says little about a long one.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal

import msgspec

from variants.host.hardware import Gpu
from variants.selection.interpolation import KINDS, ExpectedScore, Forecast, forecast, scale
from variants.selection.relevance import IndexedSelection, SortedSelections, TargetDevice, changes
from variants.selection.schema import Choice, Objective, Problem, Selection
from variants.selection.similarity import distance, family_of, is_step, queries, regime_of, work

Ground = Literal[
    "exact", "interpolated", "extrapolated", "stale", "alike", "architecture", "static"
]

_ON_CUDA = ("flex", "sdpa_mask_efficient", "compile", "sdpa_mask_math", "eager")
_ON_CPU = ("sdpa_mask", "flex", "eager")
_FAR_RATIO = 4.0


class Answer(msgspec.Struct, frozen=True):
    """The variant to use for a problem, and how far that can be trusted.

    `ranking` has all candidates, the variant to use first and the others by score. The times are
    those of `measured_threads` threads at `measured_lengths`; they are for `threads` threads only
    if the two numbers are equal. `regret_at_most` is how much slower the variant may be than the
    fastest, as a share; None where nothing bounds that.
    """

    problem: Problem
    variant: str
    ground: Ground
    provenance: str
    threads: int
    measured_threads: int | None = None
    measured_lengths: tuple[int, ...] = ()
    objective: Objective = "eager"
    ranking: tuple[ExpectedScore, ...] = ()
    regret_at_most: float | None = None


_Match = tuple[Forecast, str]
_Search = Callable[[Problem, IndexedSelection], _Match | None]


def static_order(kind: str, problem: Problem) -> tuple[str, ...]:
    """Return the names to try, one after another, where nothing was measured.

    On CUDA torch's usual way to a bias comes first. On a CPU the project's kernel comes first, for
    the calls that it takes. After it `sdpa_key` costs least, but loses digits in float32 and takes
    no chunk; there `sdpa_window` comes instead. In a step of decode `sdpa_window` does not pay: a
    plan for each call costs more than looking at every key.
    """
    if kind != "cpu":
        return _ON_CUDA
    is_half = problem.dtype != "float32"
    if problem.causal and is_step(problem.q_len, problem.kv_len):
        return (
            "native_window",
            *(("sdpa_key",) if is_half and problem.q_len == 1 else ()),
            *_ON_CPU,
        )
    if not problem.causal:
        return ("native_window", *_ON_CPU)
    is_chunk = problem.q_len < problem.kv_len
    plain = "sdpa_key" if is_half and not is_chunk else "sdpa_window"
    return ("native_window", plain, *_ON_CPU)


def pick(problem: Problem, selections: SortedSelections) -> Answer:
    """Return the answer for a problem from the selections sorted for a device."""
    here = selections.here
    searches: Sequence[tuple[Ground | None, list[IndexedSelection], _Search]] = (
        (None, selections.current, _same_shape),
        ("stale", selections.stale, _same_shape),
        ("alike", selections.current, _other_shape),
        ("stale", selections.stale, _other_shape),
        ("architecture", selections.akin, _same_shape),
        ("architecture", selections.akin, _other_shape),
    )
    for may_be_far, (ground, places, search) in product((False, True), searches):
        hits = [
            (place, match)
            for place in places
            if (match := search(problem, place))
            and (may_be_far or not _is_far(problem, match[0].lengths))
        ]
        if hits:  # exact before interpolated before extrapolated; of equals the first
            place, match = min(hits, key=lambda hit: KINDS.index(hit[1][0].kind))
            return _answer(problem, ground, place.selection, match, here)
    kind = "cuda" if isinstance(here.hardware, Gpu) else "cpu"
    order = static_order(kind, problem)
    words = f"nothing like it was measured; the first of {', '.join(order)} that takes it"
    return Answer(problem, order[0], "static", words, here.threads)


def _is_far(problem: Problem, lengths: Sequence[int]) -> bool:
    """Whether a problem is over 4 times shorter or longer than `lengths`, which rise."""
    return not lengths[0] / _FAR_RATIO <= problem.kv_len <= lengths[-1] * _FAR_RATIO


def _same_shape(problem: Problem, place: IndexedSelection) -> _Match | None:
    family = place.families.get(family_of(problem))
    if family is None:
        return None
    selection = place.selection
    estimate = forecast(family, problem.kv_len, selection.max_memory_bytes, selection.objective)
    return estimate and (estimate, f"{_lengths(estimate)} measured")


def _other_shape(problem: Problem, place: IndexedSelection) -> _Match | None:
    """Forecast from the most similar family that reaches this length, scaled by the work."""
    families = place.regimes.get(regime_of(problem))
    if families is None:
        return None

    def unlike(family: Sequence[Choice]) -> tuple[bool, float]:
        lengths = [choice.problem.kv_len for choice in family]
        return _is_far(problem, lengths), distance(family[0].problem, problem)

    family = min(families, key=unlike)
    measured = family[0].problem
    factor = work(problem) / work(measured)
    limit = place.selection.max_memory_bytes
    scaled_limit = None if limit is None else limit / max(1.0, factor)
    estimate = forecast(family, problem.kv_len, scaled_limit, place.selection.objective)
    if estimate is None:
        return None
    ranking = [scale(expected, factor) for expected in estimate.ranking]
    other = "" if queries(measured) == queries(problem) else f", {measured.q_len} queries"
    words = f"scaled from {measured.shape}{other}, {_lengths(estimate)} measured"
    return estimate._replace(ranking=ranking, regret_at_most=None), words


def _lengths(estimate: Forecast) -> str:
    return f"{' and '.join(map(str, estimate.lengths))} keys"


def _answer(
    problem: Problem, ground: Ground | None, selection: Selection, match: _Match, here: TargetDevice
) -> Answer:
    estimate, words = match
    versions = ", ".join(f"{name} {v}" for name, v in selection.software.items() if v != "absent")
    words += f" on {selection.hardware.name}, {versions}, {selection.threads} threads"
    words += f", {max(selection.measured, default='at a time unknown')}"
    if ground == "stale":
        words += f"; stale: {'; '.join(changes(selection, here))}"
    proven = ground is None and selection.objective == "eager"
    return Answer(
        problem,
        estimate.ranking[0].variant,
        ground or estimate.kind,
        words,
        here.threads,
        selection.threads,
        estimate.lengths,
        selection.objective,
        tuple(estimate.ranking),
        estimate.regret_at_most if proven else None,
    )
