"""Prices a selection's advice for problems that it did not measure.

The price is the regret: the time of the advised variant over that of the fastest, minus 1.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from reports.choosing.candidates import Rules, candidates_of
from reports.choosing.choose import choose, measured_here, problem_of
from reports.choosing.split_results import split_passes, split_rounds
from reports.choosing.tie_break import Contest
from reports.tables.cells import cells_of, fold, times_of
from reports.tables.newest import newest
from reports.tables.row import Row
from suite.cases.case import Case
from suite.failures import BadRequest
from suite.records.fingerprint import refuse_mixed
from suite.records.store import Results
from variants.selection.pick import pick
from variants.selection.relevance import SortedSelections, TargetDevice, sort_selections
from variants.selection.schema import Choice, Problem, Selection
from variants.selection.similarity import family_of

_LEAST_RATIO = 1.1
"""Between two lengths closer than this ratio, noise would decide which variant is faster."""


class PricedAdvice(NamedTuple):
    """The advised variant for a problem, the fastest, and the regret as a share (0.05 is 5%).

    `regret` is None where the advised variant disagreed or failed there. `bound` is the largest
    regret that the advice allowed for; None if it gave no bound. `recording` is that of the priced
    case (suite/recordings), empty where its inputs were random numbers.
    """

    problem: Problem
    advised: str
    fastest: str
    regret: float | None
    bound: float | None
    recording: str = ""


class Flips(NamedTuple):
    """The number of problems that two tunings share, and for how many they choose differently."""

    flipped: int
    problems: int


def price_left_out(files: Sequence[Results]) -> list[PricedAdvice]:
    """Price the advice for each measured length between two others, made without that length."""
    selection = choose(files, Rules()).selection
    priced = []
    for choice in selection.choices:
        others = tuple(each for each in selection.choices if each is not choice)
        rest = msgspec.structs.replace(selection, choices=others)
        answer = pick(choice.problem, _as_only_selection(rest))
        if answer.ground != "interpolated":
            continue
        regrets = {each.variant: each.over_first - 1 for each in choice.candidates}
        priced.append(
            PricedAdvice(
                choice.problem,
                answer.variant,
                choice.candidates[0].variant,
                regrets.get(answer.variant),
                answer.regret_at_most,
            )
        )
    return priced


def price_unseen(files: Sequence[Results], fresh: Sequence[Results]) -> list[PricedAdvice]:
    """Price the advice of `files` for the problems that only a fresh race has measured.

    A race on recorded inputs is priced whatever was measured: advice is from random numbers.

    The fastest variant is picked on the odd rounds of the race. It and the advised variant are then
    timed on the even rounds, so that a variant picked by luck has its usual time. Therefore a
    regret can be below 0. Raises BadRequest for files of different devices, software or policies.
    """
    refuse_mixed([*files, *fresh])
    selection = choose(files, Rules()).selection
    measured = {choice.problem for choice in selection.choices}
    picking, pricing = (_contests(split_rounds(fresh, parity)) for parity in (1, 0))
    priced = []
    for case in cells_of(fresh):
        if not case.has_dense_shape or (case.is_dense and problem_of(case) in measured):
            continue
        answer = pick(problem_of(case), _as_only_selection(selection))
        odd, even = picking[case], pricing[case]
        fastest = next((name for name in odd.candidates if name in even.candidates), None)
        if fastest is None:
            continue
        agrees = answer.variant in even.candidates
        regret = even.ratio(answer.variant, fastest).value - 1 if agrees else None
        priced.append(
            PricedAdvice(
                *(problem_of(case), answer.variant, fastest, regret, answer.regret_at_most),
                recording=case.recording,
            )
        )
    return priced


def flips(files: Sequence[Results]) -> Flips:
    """Choose from the first half of the passes and from the rest, and count differing choices.

    Only problems count for which both halves have the same candidates.
    """
    first, second = (_choices(split_passes(files, half)) for half in (0, 1))
    shared = [
        (first[problem], second[problem])
        for problem in first
        if problem in second and _names(first[problem]) == _names(second[problem])
    ]
    return Flips(sum(a.variant != b.variant for a, b in shared), len(shared))


def between_lengths(selection: Selection) -> list[Case]:
    """Return cases that were not measured: the geometric middle of each two neighbouring lengths.

    Lengths are neighbours within a family: problems that differ in their length alone. Neighbours
    closer than `_LEAST_RATIO` are skipped.
    """
    by_family: dict[object, list[Problem]] = {}
    for choice in selection.choices:
        by_family.setdefault(family_of(choice.problem), []).append(choice.problem)
    cases = []
    for problems in by_family.values():
        ordered = sorted(problems, key=lambda problem: problem.kv_len)
        for shorter, longer in pairwise(ordered):
            middle = round(math.sqrt(shorter.kv_len * longer.kv_len))
            if longer.kv_len < _LEAST_RATIO * shorter.kv_len or middle == shorter.kv_len:
                continue
            q_len = middle if shorter.q_len == shorter.kv_len else shorter.q_len
            values = msgspec.structs.asdict(shorter) | {"kv_len": middle, "q_len": q_len}
            cases.append(Case(**values))
    return cases


def _as_only_selection(selection: Selection) -> SortedSelections:
    here = TargetDevice(selection.hardware, selection.software, selection.threads)
    return sort_selections(here, [selection])


def _contests(files: Sequence[Results]) -> dict[Case, Contest]:
    files = newest(files).files
    rows: dict[str, list[Row]] = {}
    for row in measured_here(fold(files).rows, files):
        rows.setdefault(row.case, []).append(row)
    return {
        case: Contest(
            candidates_of(rows.get(case.id, ()), Rules()),
            {name: times_of(passes) for name, passes in cells.items()},
            "eager",
        )
        for case, cells in cells_of(files).items()
    }


def _choices(files: Sequence[Results]) -> dict[Problem, Choice]:
    try:
        choices = choose(files, Rules()).selection.choices
    except BadRequest:
        return {}
    return {choice.problem: choice for choice in choices}


def _names(choice: Choice) -> set[str]:
    return {candidate.variant for candidate in choice.candidates}
