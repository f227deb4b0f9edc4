"""Where a cell stands on one side of a comparison: its figures, or the reason why it has none."""

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


class CellState(NamedTuple):
    """A cell on one side; `figures` are log times, one a pass, and empty for pairs.

    `error` is the largest of its checks, None where there was no check.
    """

    status: Status
    reason: str
    figures: tuple[float, ...] = ()
    error: float | None = None
    peak_bytes: int | None = None
    persistent_bytes: int | None = None


def run_states(results: Results, normalise: bool) -> dict[Cell, CellState]:
    """Return the standings of a run; `normalise` divides a pass's times by its canary's."""
    logs = {time: log or 0.0 for time, log in _canaries(results)} if normalise else {}
    found: dict[Cell, CellState] = {}
    for case, variants in cells_of([results]).items():
        for name, passes in variants.items():
            found[case, name] = _state([one for own in passes.values() for one in own])._replace(
                figures=_figures(passes, logs)
            )
    return found


def side_states(results: Results, side: PairSide) -> dict[Cell, CellState]:
    """Return the standings of one side of a file of pairs, from its checks and faults."""
    by_cell: dict[Cell, list[CellRecord]] = {}
    for record in results.records:
        if isinstance(record, Agreement | Memory | Fault) and record.side == side:
            by_cell.setdefault((record.case, record.variant), []).append(record)
    return {cell: _state(records) for cell, records in by_cell.items()}


def canaries_differ(base: Results, head: Results) -> bool:
    """Whether the machine's own speed moved by over 5% between any two passes of two runs.

    Never where a time lacks its canary: some times divided and others not are incomparable.
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


def _state(records: Sequence[CellRecord]) -> CellState:
    checks = [record for record in records if isinstance(record, Agreement)]
    errors = [math.inf if check.error is None else check.error for check in checks]
    weighed = [record for record in records if isinstance(record, Memory)]
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
        error=max(errors, default=None),
        peak_bytes=max((one.peak_bytes for one in weighed), default=None),
        persistent_bytes=max((one.persistent_bytes for one in weighed), default=None),
    )


def _canaries(results: Results) -> Iterator[tuple[Time, float | None]]:
    """Yield each time and its canary's logarithm: a resumed pass has a canary for each part."""
    last: dict[int, float] = {}
    for record in results.records:
        if isinstance(record, Canary):
            last[record.pass_number] = math.log(record.median_ms)
        elif isinstance(record, Time):
            yield record, last.get(record.pass_number)


def _figures(passes: Passes, canaries: Mapping[Time, float]) -> tuple[float, ...]:
    figures = []
    for _, records in sorted(passes.items(), key=lambda one: one[0]):
        times = [record for record in records if isinstance(record, Time)]
        if times:
            logs = (log_median_ms(time) - canaries.get(time, 0.0) for time in times)
            figures.append(statistics.fmean(logs))
    return tuple(figures)
