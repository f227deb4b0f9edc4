"""What a selection's advice costs where it did not measure: time over the fastest, as a share."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from reports.choosing.candidates import Rules, candidates_of
from reports.choosing.choose import choose, problem_of
from reports.choosing.split_results import split_passes, split_rounds
from reports.choosing.tie_break import Contest
from reports.tables.cells import cells_of, groups, times_of
from reports.tables.row import Row
from suite.cases.case import Case
from suite.failures import BadRequest
from suite.records.fingerprint import refuse_mixed
from suite.records.store import Results
from variants.selection.pick import pick
from variants.selection.relevance import SortedSelections, TargetDevice, sorted_for
from variants.selection.schema import Choice, Problem, Selection
from variants.selection.similarity import family_of

_APART = 1.1  # between lengths any closer a race would tell variants apart by noise


class PricedAdvice(NamedTuple):
    """What was advised for a problem and what that cost over the fastest, as a share.

    None where what was advised disagreed or failed there. `bound` is what the advice had promised.
    """

    problem: Problem
    advised: str
    fastest: str
    regret: float | None
    bound: float | None


class Flips(NamedTuple):
    """Of so many problems that two tunings share, how many they choose differently for."""

    flipped: int
    problems: int


def left_out(files: Sequence[Results]) -> list[PricedAdvice]:
    """Price the advice for each measured length between two others, made without it."""
    selection = choose(files, Rules()).selection
    priced = []
    for choice in selection.choices:
        others = tuple(one for one in selection.choices if one is not choice)
        answer = pick(choice.problem, _alone(msgspec.structs.replace(selection, choices=others)))
        if answer.ground != "interpolated":
            continue
        over = {one.variant: one.over_first - 1 for one in choice.candidates}
        priced.append(
            PricedAdvice(
                choice.problem,
                answer.variant,
                choice.candidates[0].variant,
                over.get(answer.variant),
                answer.regret_at_most,
            )
        )
    return priced


def unseen(files: Sequence[Results], fresh: Sequence[Results]) -> list[PricedAdvice]:
    """Price the advice of `files` for the problems of a fresh race that they have not measured.

    The fastest is picked on the odd rounds, and both are priced on the even ones: what is fastest
    by luck then costs as much as it really does. So a regret can be below 0.
    Raises BadRequest unless all are of one device, software and policy.
    """
    refuse_mixed([*files, *fresh])
    selection = choose(files, Rules()).selection
    seen = {choice.problem for choice in selection.choices}
    picking, pricing = (_contests(split_rounds(fresh, parity)) for parity in (1, 0))
    priced = []
    for case in cells_of(fresh):
        if case.seq_lens or problem_of(case) in seen:
            continue
        answer = pick(problem_of(case), _alone(selection))
        by, on = picking[case], pricing[case]
        fastest = next((name for name in by.candidates if name in on.candidates), None)
        if fastest is None:
            continue
        known_there = answer.variant in on.candidates
        regret = on.ratio(answer.variant, fastest).value - 1 if known_there else None
        bound = answer.regret_at_most
        priced.append(PricedAdvice(problem_of(case), answer.variant, fastest, regret, bound))
    return priced


def flips(files: Sequence[Results]) -> Flips:
    """Choose from the first half of the passes and from the rest, and count what differs.

    Problems count for which both halves have the same candidates.
    """
    first, second = (_choices(split_passes(files, half)) for half in (0, 1))
    shared = [
        (first[problem], second[problem])
        for problem in first
        if problem in second and _names(first[problem]) == _names(second[problem])
    ]
    return Flips(sum(one.variant != other.variant for one, other in shared), len(shared))


def between_lengths(selection: Selection) -> list[Case]:
    """Return problems never measured: the geometric middle of each two lengths of a family.

    Between two that lie close together there is nothing to be learnt.
    """
    by_family: dict[object, list[Problem]] = {}
    for choice in selection.choices:
        by_family.setdefault(family_of(choice.problem), []).append(choice.problem)
    cases = []
    for problems in by_family.values():
        ordered = sorted(problems, key=lambda one: one.kv_len)
        for shorter, longer in pairwise(ordered):
            middle = round(math.sqrt(shorter.kv_len * longer.kv_len))
            if longer.kv_len < _APART * shorter.kv_len or middle == shorter.kv_len:
                continue
            q_len = middle if shorter.q_len == shorter.kv_len else shorter.q_len
            values = msgspec.structs.asdict(shorter) | {"kv_len": middle, "q_len": q_len}
            cases.append(Case(**values))
    return cases


def _alone(selection: Selection) -> SortedSelections:
    here = TargetDevice(selection.hardware, selection.software, selection.threads)
    return sorted_for(here, [selection])


def _contests(files: Sequence[Results]) -> dict[Case, Contest]:
    rows: dict[str, list[Row]] = {}
    for group in groups(files):
        for row in group.rows:
            rows.setdefault(row.case, []).append(row)
    return {
        case: Contest(
            candidates_of(rows[case.id], Rules()),
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
