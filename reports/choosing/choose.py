"""From results to a selection: the variant for each problem, by an objective and within limits."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from reports.choosing.candidates import Rules, candidates_of, why_none
from reports.choosing.tie_break import Contest, decide_choice
from reports.tables.cells import Passes, cells_of, groups, times_of
from reports.tables.row import NOT_YET, Row
from suite.cases.case import Case
from suite.failures import BadRequest
from suite.records.fingerprint import refuse_mixed, with_its_driver
from suite.records.record import RunHeader
from suite.records.store import Results
from variants.selection.schema import RUNS_AT_MOST, Choice, Problem, Selection

_ALIKE = (
    "hardware",
    "software",
    "threads",
    "policy",
    "objective",
    "max_memory_bytes",
    "max_error",
)
"""What two selections have to share for choices of one to stand in the other."""


class NewSelection(NamedTuple):
    """A selection, a line for each problem for which nothing was chosen, and what is gone."""

    selection: Selection
    left_out: list[str]
    dropped: str | None


def choose(files: Sequence[Results], rules: Rules, before: Selection | None = None) -> NewSelection:
    """Choose for every problem of results files of one device, software and policy.

    `before` has the incumbents; what it chose for other problems is kept if it was measured and
    chosen alike. Raises BadRequest for files that don't belong together, or without a candidate.
    """
    refuse_mixed(files)
    (group,) = groups(files)
    empty = _selection(group.header, files, rules)
    unlike = [name for name in _ALIKE if before and getattr(before, name) != getattr(empty, name)]
    incumbents = _incumbents(before, rules)
    made = _choose_all(cells_of(files), group.rows, rules, incumbents, may_stay=not unlike)
    if not made.choices:
        raise BadRequest(f"choose: nothing to choose; {'; '.join(made.left_out[:3])}")
    new = msgspec.structs.replace(empty, choices=tuple(made.choices))
    others = [one for one in before.choices if one.problem not in made.tried] if before else []
    if before is None or not others:
        return NewSelection(new, made.left_out, None)
    if unlike:
        what = ", ".join(name.replace("_", " ") for name in unlike)
        dropped = f"{len(others)} problems chosen before are dropped: other {what}"
        return NewSelection(new, made.left_out, dropped)
    measured = _last({*before.measured, *new.measured})
    kept = msgspec.structs.replace(new, choices=(*others, *made.choices), measured=measured)
    return NewSelection(kept, made.left_out, None)


class _Choices(NamedTuple):
    """The choices made, a line for each problem without one, and the problems that were tried."""

    choices: list[Choice]
    left_out: list[str]
    tried: set[Problem]


def _choose_all(
    cells_by_case: Mapping[Case, Mapping[str, Passes]],
    rows: Sequence[Row],
    rules: Rules,
    incumbents: Mapping[Problem, str],
    *,
    may_stay: bool,
) -> _Choices:
    """Choose for every case; an incumbent that was not measured anew may stay."""
    made = _Choices([], [], set())
    for case, cells in cells_by_case.items():
        if case.seq_lens:
            continue
        own, problem = [row for row in rows if row.case == case.id], problem_of(case)
        incumbent = incumbents.get(problem)
        if incumbent and may_stay and not _was_tried(incumbent, own):
            made.left_out.append(
                f"{case.id}: {incumbent}, chosen before, was not measured; it stays"
            )
            continue
        made.tried.add(problem)
        candidates = candidates_of(own, rules)
        if candidates:
            times = {name: times_of(passes) for name, passes in cells.items()}
            contest = Contest(candidates, times, rules.objective)
            made.choices.append(decide_choice(problem, contest, incumbent))
        else:
            made.left_out.append(f"{case.id}: {why_none(own, rules)}")
    return made


def _was_tried(variant: str, rows: Sequence[Row]) -> bool:
    """Whether anything came of a variant, be it a fault."""
    return any(row.variant == variant and row.reason != NOT_YET for row in rows)


def problem_of(case: Case) -> Problem:
    """Return a case as selections know it."""
    values = msgspec.structs.asdict(case)
    return Problem(**{name: values[name] for name in Problem.__struct_fields__})


def _incumbents(before: Selection | None, rules: Rules) -> dict[Problem, str]:
    if before is None or before.objective != rules.objective:
        return {}
    return {choice.problem: choice.variant for choice in before.choices}


def _selection(header: RunHeader, files: Sequence[Results], rules: Rules) -> Selection:
    """Return the selection of files that nothing is chosen in yet."""
    policy = header.policy
    return Selection(
        schema=1,
        hardware=header.hardware,
        software=with_its_driver(header).software,
        threads=policy.threads,
        policy={"clock": policy.clock, "omp_wait_policy": policy.omp_wait_policy, **policy.malloc},
        objective=rules.objective,
        max_memory_bytes=rules.max_memory_bytes,
        max_error=rules.max_error,
        measured=_last({_run(file.header) for file in files}),
        choices=(),
    )


def _run(header: RunHeader) -> str:
    commit = header.circumstances.commit[:12]
    return f"{header.started} of {commit}{'+' if header.circumstances.uncommitted else ''}"


def _last(runs: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(runs)[-RUNS_AT_MOST:])
