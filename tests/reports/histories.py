"""Invented histories: runs of one cell, a day apart, with a spread of a third of a percent."""

from collections.abc import Sequence
from datetime import date, timedelta
from random import Random

import msgspec

from reports.history.series import cell_histories
from reports.history.steps import HistoryStep, steps_of
from suite.records.record import RunHeader
from suite.records.store import Results
from tests.records import a_machine, a_plan, a_run

SPREAD = 0.003


def noisy(levels: Sequence[float], spread: float = SPREAD, seed: int = 0) -> list[float]:
    """Return times around levels, in ms."""
    random = Random(seed)
    return [level * (1 + random.gauss(0, spread)) for level in levels]


def a_commit(number: int) -> str:
    """Return the hash of the commit with this number."""
    return f"{number:012x}".ljust(40, "0")


def header(number: int, *, commit: int | None = None, torch: str = "2.13.0") -> RunHeader:
    """Return the header of run `number`, by default of a commit of its own."""
    return a_machine(
        torch=torch,
        commit=a_commit(number if commit is None else commit),
        started=f"{date(2026, 1, 1) + timedelta(number)}T00:00:00+00:00",
    )


def runs_at(
    levels: Sequence[float],
    *,
    headers: Sequence[RunHeader] = (),
    canaries: Sequence[float] = (),
    variant: str = "eager",
    spread: float = SPREAD,
) -> list[Results]:
    """Return a run for each level, with the header and the canary that stand in its place."""
    plan = a_plan(variants=[variant])
    whole = [
        header_with(own, plan=plan)
        for own in headers or [header(number) for number in range(len(levels))]
    ]
    speeds = noisy(canaries or [7.0] * len(levels), seed=1)
    return [
        a_run({variant: [time_ms]}, header=own, canaries=[speed], name=f"{number:02d}.jsonl")
        for number, (time_ms, own, speed) in enumerate(
            zip(noisy(levels, spread), whole, speeds, strict=True)
        )
    ]


def steps(files: Sequence[Results]) -> list[HistoryStep]:
    """Return the steps of the only cell of a history."""
    (cell,) = cell_histories(files)
    return steps_of(cell)


def header_with(own: RunHeader, **fields: object) -> RunHeader:
    """Return a header with other fields."""
    return msgspec.structs.replace(own, **fields)
