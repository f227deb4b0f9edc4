"""Which variant to use for a problem on a device, and on what ground; imports no torch.

Looked for in this order, and the answer says where it was found:

    exact          this device and software measured this very problem
    interpolated   they measured the like at a shorter and at a longer length
    extrapolated   at shorter lengths only, or at longer ones only
    stale          this device measured it with other software or threads
    alike          this device measured another shape of the same dtype and mode
    architecture   another device of the same architecture measured it
    static         nobody did: a fixed order, whose variants are tried one after another

What lies more than 4 times beyond the lengths measured is looked for on the next grounds first: of
one short length nothing follows for a long one.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal

import msgspec

from variants.host.hardware import Gpu
from variants.selection.interpolation import KINDS, Expected, Forecast, forecast, scale
from variants.selection.relevance import IndexedSelection, SortedSelections, TargetDevice, changes
from variants.selection.schema import Choice, Objective, Problem, Selection
from variants.selection.similarity import distance, family_of, regime_of, work

Ground = Literal[
    "exact", "interpolated", "extrapolated", "stale", "alike", "architecture", "static"
]

_ON_CUDA = ("flex", "sdpa_mask_efficient", "compile", "sdpa_mask_math", "eager")
_ON_CPU = ("sdpa_mask", "flex", "eager")
_FAR = 4.0


class Answer(msgspec.Struct, frozen=True):
    """The variant to use for a problem, and how far that can be trusted.

    `ranking` are the candidates, the chosen one first, then by score. `regret_at_most` is how much
    slower than the fastest it may be, as a share; None where nothing bounds it.
    """

    problem: Problem
    variant: str
    ground: Ground
    provenance: str
    objective: Objective = "eager"
    ranking: tuple[Expected, ...] = ()
    regret_at_most: float | None = None


_Match = tuple[Forecast, str]
_Search = Callable[[Problem, IndexedSelection], _Match | None]


def static_order(kind: str, problem: Problem) -> tuple[str, ...]:
    """Return what is tried, one after another, where nothing was measured.

    On CUDA, where nothing has been seen yet, torch's own way to a bias comes first. On a CPU the
    kernel of our own does, for what it takes. Without it `sdpa_key` costs least, but loses digits
    in float32 and takes no chunk; `sdpa_window` does.
    """
    if kind != "cpu":
        return _ON_CUDA
    ours = ("native_window",) if problem.mode == "forward" else ()
    if not problem.causal:
        return (*ours, *_ON_CPU)
    is_chunk = 1 < problem.q_len < problem.kv_len
    first = "sdpa_window" if is_chunk or problem.dtype == "float32" else "sdpa_key"
    return (*ours, first, *_ON_CPU)


def pick(problem: Problem, known: SortedSelections) -> Answer:
    """Return the answer for a problem from what is known."""
    here = known.here
    searches: Sequence[tuple[Ground | None, list[IndexedSelection], _Search]] = (
        (None, known.current, _same_shape),
        ("stale", known.stale, _same_shape),
        ("alike", known.current, _other_shape),
        ("stale", known.stale, _other_shape),
        ("architecture", known.akin, _same_shape),
        ("architecture", known.akin, _other_shape),
    )
    for may_be_far, (ground, places, search) in product((False, True), searches):
        hits = [
            (place, found)
            for place in places
            if (found := search(problem, place))
            and (may_be_far or not _is_far(problem, found[0].lengths))
        ]
        if hits:  # of several the one that was measured nearest, and the first of those
            place, found = min(hits, key=lambda hit: KINDS.index(hit[1][0].kind))
            return _answer(problem, ground, place.selection, found, here)
    kind = "cuda" if isinstance(here.hardware, Gpu) else "cpu"
    order = static_order(kind, problem)
    words = f"nothing like it was measured; the first of {', '.join(order)} that takes it"
    return Answer(problem, order[0], "static", words)


def _is_far(problem: Problem, lengths: Sequence[int]) -> bool:
    """Whether a problem lies far beyond lengths, which come in rising order."""
    return not lengths[0] / _FAR <= problem.kv_len <= lengths[-1] * _FAR


def _same_shape(problem: Problem, place: IndexedSelection) -> _Match | None:
    family = place.families.get(family_of(problem))
    if family is None:
        return None
    estimate = forecast(family, problem.kv_len, place.selection.max_memory_bytes)
    return estimate and (estimate, f"{_lengths(estimate)} measured")


def _other_shape(problem: Problem, place: IndexedSelection) -> _Match | None:
    """Look in the nearest shape's family that reaches so far, and scale its figures by the work."""
    others = place.regimes.get(regime_of(problem))
    if others is None:
        return None

    def unlike(own: Sequence[Choice]) -> tuple[bool, float]:
        lengths = [choice.problem.kv_len for choice in own]
        return _is_far(problem, lengths), distance(own[0].problem, problem)

    family = min(others, key=unlike)
    other = family[0].problem
    factor = work(problem) / work(other)
    limit = place.selection.max_memory_bytes
    scaled_limit = None if limit is None else limit / max(1.0, factor)
    estimate = forecast(family, problem.kv_len, scaled_limit)
    if estimate is None:
        return None
    ranking = [scale(one, factor) for one in estimate.ranking]
    shape = f"{other.batch} x {other.heads} heads of {other.head_dim}"
    words = f"scaled from {shape}, {_lengths(estimate)} measured"
    return estimate._replace(ranking=ranking, regret_at_most=None), words


def _lengths(estimate: Forecast) -> str:
    return f"{' and '.join(map(str, estimate.lengths))} keys"


def _answer(
    problem: Problem, ground: Ground | None, selection: Selection, found: _Match, here: TargetDevice
) -> Answer:
    estimate, words = found
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
        selection.objective,
        tuple(estimate.ranking),
        estimate.regret_at_most if proven else None,
    )
