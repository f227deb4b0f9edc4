"""From results to a selection: the variant for each problem, by an objective and within limits."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from reports.candidates import Rules, candidates_of, why_none
from reports.cells import cells_of, groups, times_of
from reports.contest import Contest, decided
from reports.row import NOT_YET, Row
from reports.versus import is_of_pairs
from suite.asked import BadRequest
from suite.case import Case
from suite.fingerprint import differences
from suite.record import Machine
from suite.store import Results
from variants.selection import RUNS_AT_MOST, Problem, Selection
from variants.software import with_driver

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


class Chosen(NamedTuple):
    """A selection, a line for each problem for which nothing was chosen, and what is gone."""

    selection: Selection
    left_out: list[str]
    dropped: str | None


def choose(files: Sequence[Results], rules: Rules, before: Selection | None = None) -> Chosen:
    """Choose for every problem of results files of one device, software and policy.

    `before` has the incumbents; what it chose for other problems is kept if it was measured and
    chosen alike. Raises BadRequest for files that don't belong together, or without a candidate.
    """
    refuse_mixed(files)
    (group,) = groups(files)
    empty = _selection(group.machine, files, rules)
    unlike = [name for name in _ALIKE if before and getattr(before, name) != getattr(empty, name)]
    incumbents = _incumbents(before, rules)
    choices, left_out = [], []
    looked_at: set[Problem] = set()
    for case, cells in cells_of(files).items():
        if case.seq_lens:
            continue
        rows, problem = [row for row in group.rows if row.case == case.id], problem_of(case)
        incumbent = incumbents.get(problem)
        if incumbent and not unlike and not _was_tried(incumbent, rows):
            left_out.append(f"{case.id}: {incumbent}, chosen before, was not measured; it stays")
            continue
        looked_at.add(problem)
        candidates = candidates_of(rows, rules)
        if candidates:
            times = {name: times_of(passes) for name, passes in cells.items()}
            contest = Contest(candidates, times, rules.objective)
            choices.append(decided(problem, contest, incumbent))
        else:
            left_out.append(f"{case.id}: {why_none(rows, rules)}")
    if not choices:
        raise BadRequest(f"choose: nothing to choose; {'; '.join(left_out[:3])}")
    new = msgspec.structs.replace(empty, choices=tuple(choices))
    others = [one for one in before.choices if one.problem not in looked_at] if before else []
    if before is None or not others:
        return Chosen(new, left_out, None)
    if unlike:
        what = ", ".join(name.replace("_", " ") for name in unlike)
        dropped = f"{len(others)} problems chosen before are dropped: other {what}"
        return Chosen(new, left_out, dropped)
    measured = _last({*before.measured, *new.measured})
    kept = msgspec.structs.replace(new, choices=(*others, *choices), measured=measured)
    return Chosen(kept, left_out, None)


def _was_tried(variant: str, rows: Sequence[Row]) -> bool:
    """Whether anything came of a variant, be it a fault."""
    return any(row.variant == variant and row.reason != NOT_YET for row in rows)


def problem_of(case: Case) -> Problem:
    """Return a case as selections know it."""
    values = msgspec.structs.asdict(case)
    return Problem(**{name: values[name] for name in Problem.__struct_fields__})


def refuse_mixed(files: Sequence[Results]) -> None:
    """Raise BadRequest unless files are runs of one device, software, driver and policy."""
    first = files[0]
    for file in files:
        if any(is_of_pairs(record) for record in file.records):
            raise BadRequest(f"{file.path}: a file of pairs and no run's")
        if differing := differences(_with_driver(file.machine), _with_driver(first.machine)):
            raise BadRequest(
                f"{file.path} beside {first.path}: {'; '.join(differing)}; "
                "name files of one device, software and policy"
            )


def _with_driver(machine: Machine) -> Machine:
    """Return a machine whose software has a GPU's driver too."""
    driver = machine.circumstances.gpu.get("driver", "unknown")
    software = with_driver(machine.software, None if driver == "unknown" else driver)
    return msgspec.structs.replace(machine, software=software)


def _incumbents(before: Selection | None, rules: Rules) -> dict[Problem, str]:
    if before is None or before.objective != rules.objective:
        return {}
    return {choice.problem: choice.variant for choice in before.choices}


def _selection(machine: Machine, files: Sequence[Results], rules: Rules) -> Selection:
    """Return the selection of files that nothing is chosen in yet."""
    policy = machine.policy
    return Selection(
        schema=1,
        hardware=machine.hardware,
        software=_with_driver(machine).software,
        threads=policy.threads,
        policy={"clock": policy.clock, "omp_wait_policy": policy.omp_wait_policy, **policy.malloc},
        objective=rules.objective,
        max_memory_bytes=rules.max_memory_bytes,
        max_error=rules.max_error,
        measured=_last({_run(file.machine) for file in files}),
        choices=(),
    )


def _run(machine: Machine) -> str:
    commit = machine.circumstances.commit[:12]
    return f"{machine.started} of {commit}{'+' if machine.circumstances.uncommitted else ''}"


def _last(runs: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(runs)[-RUNS_AT_MOST:])
