"""The state of a cell on one side of a comparison: its figures, or why it has none."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from reports.tables.cells import Passes, cells_of
from reports.tables.estimates import log_median_ms
from suite.cases.plan import Cell
from suite.records.record import (
    Agreement,
    Canary,
    CellRecord,
    Fault,
    Memory,
    PairSide,
    Status,
    Time,
)
from suite.records.store import Results

CANARY_SPREAD = 1.05
"""The ratio of two canary times above which the machine's own speed has changed."""


Draw = tuple[str, int, int]
"""The stage of a check and the numbers that its inputs and its rows were drawn from."""


class CellState(NamedTuple):
    """A cell on one side of a comparison.

    `figures` are natural logarithms of times in ms, one a pass; for pairs they are empty.
    `error_shares` are the errors of its checks as shares of their budgets; `checked` says whether
    it has any check, also one without an error that is a number.
    """

    status: Status
    reason: str
    figures: tuple[float, ...] = ()
    checked: bool = False
    error_shares: Mapping[Draw, float] = {}
    peak_bytes: int | None = None
    persistent_bytes: int | None = None


def run_states(results: Results, normalise: bool) -> dict[Cell, CellState]:
    """Return the state of each cell of a run.

    With `normalise` the times of a pass are divided by the time of its canary.
    """
    logs = {time: log or 0.0 for time, log in _canaries(results)} if normalise else {}
    states: dict[Cell, CellState] = {}
    for case, variants in cells_of([results]).items():
        for name, passes in variants.items():
            records = [record for pass_records in passes.values() for record in pass_records]
            states[case, name] = _state(records)._replace(figures=_figures(passes, logs))
    return states


def side_states(results: Results, side: PairSide) -> dict[Cell, CellState]:
    """Return the state of each cell on one side of a file of pairs; `figures` stay empty."""
    by_cell: dict[Cell, list[CellRecord]] = {}
    for record in results.records:
        if isinstance(record, Agreement | Memory | Fault) and record.side == side:
            by_cell.setdefault((record.case, record.variant), []).append(record)
    return {cell: _state(records) for cell, records in by_cell.items()}


def canaries_differ(base: Results, head: Results) -> bool:
    """Return whether the canaries of any two passes of two runs differ by over 5%.

    False where a time has no canary: times that are divided by a canary can't be compared with
    times that are not.
    """
    if any(log is None for results in (base, head) for _, log in _canaries(results)):
        return False
    figures = [
        record.median_ms
        for results in (base, head)
        for record in results.records
        if isinstance(record, Canary)
    ]
    return bool(figures) and max(figures) > CANARY_SPREAD * min(figures)


def canary_move(base: Results, head: Results) -> float:
    """Return log(head / base) of two runs' canaries, each the mean over the run's passes.

    0 where a run has no canary.
    """
    levels = [
        [math.log(record.median_ms) for record in run.records if isinstance(record, Canary)]
        for run in (base, head)
    ]
    if not all(levels):
        return 0.0
    before, after = map(statistics.fmean, levels)
    return after - before


def _state(records: Sequence[CellRecord]) -> CellState:
    checks = [record for record in records if isinstance(record, Agreement)]
    memories = [record for record in records if isinstance(record, Memory)]
    status: Status = "measured"
    reason = ""
    for record in records:
        if isinstance(record, Fault) and status == "measured":
            status, reason = record.status, record.reason
    for check in checks:
        if not check.agrees and status == "measured":
            status, reason = "disagrees", f"{check.where}: {check.finding}"
    return CellState(
        status,
        reason,
        checked=bool(checks),
        error_shares=_error_shares(checks),
        peak_bytes=max((memory.peak_bytes for memory in memories), default=None),
        persistent_bytes=max((memory.persistent_bytes for memory in memories), default=None),
    )


def _error_shares(checks: Sequence[Agreement]) -> dict[Draw, float]:
    """Return the largest share of each draw; without checks whose error is no number."""
    shares: dict[Draw, float] = {}
    for check in checks:
        if math.isfinite(check.excess):
            draw = check.stage, check.inputs_seed, check.rows_seed
            shares[draw] = max(shares.get(draw, 0.0), check.excess)
    return shares


def _canaries(results: Results) -> Iterator[tuple[Time, float | None]]:
    """Yield each time with the logarithm of its canary, or None where the canary is missing.

    A resumed pass has a canary for each part; a time's canary is the last one before it.
    """
    last: dict[int, float] = {}
    for record in results.records:
        if isinstance(record, Canary):
            last[record.pass_number] = math.log(record.median_ms)
        elif isinstance(record, Time):
            yield record, last.get(record.pass_number)


def _figures(passes: Passes, canaries: Mapping[Time, float]) -> tuple[float, ...]:
    figures = []
    for _, records in sorted(passes.items(), key=lambda item: item[0]):
        times = [record for record in records if isinstance(record, Time)]
        if times:
            logs = (log_median_ms(time) - canaries.get(time, 0.0) for time in times)
            figures.append(statistics.fmean(logs))
    return tuple(figures)
