"""The state of a cell on one side of a comparison: its figures, or why it has none."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from reports.tables.cells import Passes, cells_of
from reports.tables.estimates import log_median_ms
from suite.cases.plan import Cell
from suite.records.record import (
    Agreement,
    CellRecord,
    Fault,
    Memory,
    PairSide,
    Status,
    Time,
)
from suite.records.store import Results

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


def run_states(results: Results) -> dict[Cell, CellState]:
    """Return the state of each cell of a run."""
    states: dict[Cell, CellState] = {}
    for case, variants in cells_of([results]).items():
        for name, passes in variants.items():
            records = [record for pass_records in passes.values() for record in pass_records]
            states[case, name] = _state(records)._replace(figures=_figures(passes))
    return states


def side_states(results: Results, side: PairSide) -> dict[Cell, CellState]:
    """Return the state of each cell on one side of a file of pairs; `figures` stay empty."""
    by_cell: dict[Cell, list[CellRecord]] = {}
    for record in results.records:
        if isinstance(record, Agreement | Memory | Fault) and record.side == side:
            by_cell.setdefault((record.case, record.variant), []).append(record)
    return {cell: _state(records) for cell, records in by_cell.items()}


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


def _figures(passes: Passes) -> tuple[float, ...]:
    """Return the mean log of each pass's times: a resumed pass has several of the baseline."""
    figures = []
    for _, records in sorted(passes.items(), key=lambda item: item[0]):
        logs = [log_median_ms(record) for record in records if isinstance(record, Time)]
        if logs:
            figures.append(statistics.fmean(logs))
    return tuple(figures)
