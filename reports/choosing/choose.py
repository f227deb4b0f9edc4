"""Makes a selection from results: a variant for each problem, by an objective, within limits."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from reports.choosing.candidates import Rules, candidates_of, is_too_noisy, why_none
from reports.choosing.tie_break import Contest, decide_choice
from reports.tables.cells import Group, Passes, cells_of, fold, times_of
from reports.tables.conditions import caution
from reports.tables.newest import newest
from reports.tables.row import NOT_YET, Row
from suite.cases.case import Case
from suite.failures import BadRequest
from suite.records.fingerprint import refuse_mixed, software_of_ours, with_gpu_driver
from suite.records.record import RunHeader
from suite.records.store import Results
from variants.selection.schema import RUNS_AT_MOST, Choice, Problem, Selection

_COMPARABLE_FIELDS = (
    "hardware",
    "software",
    "threads",
    "policy",
    "objective",
    "max_memory_bytes",
    "max_error",
)
"""Fields that must be equal for choices of an older selection to stay in the new one."""


class NewSelection(NamedTuple):
    """A selection, a line for each problem without a new choice, and a line for dropped choices.

    `cautions` has a line for cells that several commits measured, and one for what makes the
    figures uncertain.
    """

    selection: Selection
    left_out: list[str]
    dropped: str | None
    cautions: list[str]


def choose(files: Sequence[Results], rules: Rules, before: Selection | None = None) -> NewSelection:
    """Choose for every problem of results files of one device, software and policy.

    Of a cell that several commits measured, the newest counts. `before` is the older selection: its
    choices are the incumbents. Its choices for other problems stay if its hardware, software,
    policy, objective and limits are the same. Raises BadRequest for files of different devices,
    software or policies, and for files without any candidate.
    """
    refuse_mixed(files)
    files, older_cells = newest(files)
    group = fold(files)
    cautions = _cautions(group, older_cells)
    empty = _selection(group.header, files, rules)
    unlike = [
        name
        for name in _COMPARABLE_FIELDS
        if before and getattr(before, name) != getattr(empty, name)
    ]
    incumbents = _incumbents(before, rules)
    rows = group.rows if rules.others else measured_here(group.rows, files)
    results = _choose_all(cells_of(files), rows, rules, incumbents, may_stay=not unlike)
    if not results.choices:
        why = results.left_out[:3] or ["no case has sequences of one length and random inputs"]
        raise BadRequest(f"choose: nothing to choose; {'; '.join(why)}")
    new = msgspec.structs.replace(empty, choices=tuple(results.choices))
    older = before.choices if before else ()
    others = [choice for choice in older if choice.problem not in results.problems]
    if before is None or not others:
        return NewSelection(new, results.left_out, None, cautions)
    if unlike:
        what = ", ".join(name.replace("_", " ") for name in unlike)
        dropped = f"{len(others)} problems chosen before are dropped: other {what}"
        return NewSelection(new, results.left_out, dropped, cautions)
    measured = _last({*before.measured, *new.measured})
    merged = msgspec.structs.replace(new, choices=(*others, *results.choices), measured=measured)
    return NewSelection(merged, results.left_out, None, cautions)


def measured_here(rows: Sequence[Row], files: Sequence[Results]) -> list[Row]:
    """Return the rows of variants whose lanes ran in the run's own interpreter."""
    elsewhere = {name for file in files for name, _ in file.header.plan.pythons}
    return [row for row in rows if row.variant not in elsewhere]


def _cautions(group: Group, older_cells: int) -> list[str]:
    """Return what to hold against choices: older code left out, and the caution of a table."""
    commits = f"{older_cells} cells were measured by several commits; of each the newest counts"
    return [line for line in (commits if older_cells else "", caution(group)) if line]


class _Choices(NamedTuple):
    """New choices, a line for each problem without a new choice, and the problems decided now."""

    choices: list[Choice]
    left_out: list[str]
    problems: set[Problem]


def _choose_all(
    cells_by_case: Mapping[Case, Mapping[str, Passes]],
    rows: Sequence[Row],
    rules: Rules,
    incumbents: Mapping[Problem, str],
    *,
    may_stay: bool,
) -> _Choices:
    """Choose for every case.

    With `may_stay` an incumbent that the results have no measurement of stays undisputed.
    """
    results = _Choices([], [], set())
    for case, cells in cells_by_case.items():
        if not case.is_dense:
            continue
        case_rows, problem = [row for row in rows if row.case == case.id], problem_of(case)
        incumbent = incumbents.get(problem)
        why = _why_untried(incumbent, case_rows, rules) if incumbent and may_stay else None
        if why is not None:
            results.left_out.append(f"{case.id}: {incumbent}, chosen before, {why}; it stays")
            continue
        results.problems.add(problem)
        candidates = candidates_of(case_rows, rules)
        if candidates:
            times = {name: times_of(passes) for name, passes in cells.items()}
            contest = Contest(candidates, times, rules.objective)
            results.choices.append(decide_choice(problem, contest, incumbent))
        else:
            results.left_out.append(f"{case.id}: {why_none(case_rows, rules)}")
    return results


def _why_untried(variant: str, rows: Sequence[Row], rules: Rules) -> str | None:
    """Return why a variant can't be judged; None if it has a result, be it a failure."""
    for row in rows:
        if row.variant == variant and row.reason != NOT_YET:
            return "was too noisy to rank" if is_too_noisy(row, rules) else None
    return "was not measured"


def problem_of(case: Case) -> Problem:
    """Return the `Problem` of a case: the fields that selections distinguish.

    Raises BadRequest for a case of which no selection has advice.
    """
    if not case.has_dense_shape:
        raise BadRequest(
            f"{case.id}: selections are of dense batches; give no sequences, window, norms or pages"
        )
    values = msgspec.structs.asdict(case)
    return Problem(**{name: values[name] for name in Problem.__struct_fields__})


def _incumbents(before: Selection | None, rules: Rules) -> dict[Problem, str]:
    if before is None or before.objective != rules.objective:
        return {}
    return {choice.problem: choice.variant for choice in before.choices}


def _selection(header: RunHeader, files: Sequence[Results], rules: Rules) -> Selection:
    """Return a selection without choices, with the conditions of the files."""
    policy = header.policy
    return Selection(
        schema=1,
        hardware=header.hardware,
        software=software_of_ours(with_gpu_driver(header)),
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
