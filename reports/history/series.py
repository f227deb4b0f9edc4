"""The series of a history: each cell's time and status in every run, by hardware key."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from reports.history.environment import machine_key
from reports.tables.estimates import Estimate, mean_over_passes
from reports.tables.row import NOT_YET
from reports.verdicts.cell_state import CellState, run_states
from suite.cases.case import Case
from suite.cases.plan import Cell
from suite.records.record import Canary, CellRecord, RunHeader, Status, Time
from suite.records.store import Results, StoreError, is_duel_record

MOST_DISTURBED = 1.0
"""A time whose turns were disturbed more often than once each has no say in steps. No published
time of the Xeons and of the EPYC with AVX2 is over it, and 99% are at most half of it. On a machine
whose cores were kept busy nearly all are over it (docs/verdicts.md)."""


class PastRun(NamedTuple):
    """A run of one code: its header, and the log of its canary in ms, the mean over passes."""

    header: RunHeader
    log_canary: float | None

    @property
    def code(self) -> str:
        return self.header.circumstances.code


class SeriesPoint(NamedTuple):
    """A cell in a run: its status, and its time in ms, which is None unless it was measured.

    `disturbed` says that other processes held the cores at over MOST_DISTURBED attempts a turn.
    """

    run: PastRun
    status: Status
    reason: str
    time: Estimate | None
    passes: int
    disturbed: bool

    @property
    def log_ms(self) -> float:
        """The natural logarithm of the time in ms. Needs a time."""
        assert self.time is not None
        return math.log(self.time.value)


class CellHistory(NamedTuple):
    """A cell on one kind of hardware, in the order of its runs.

    `hardware_key` leaves a GPU's power limit out, which may change from run to run.
    """

    hardware_key: str
    case: Case
    variant: str
    points: tuple[SeriesPoint, ...]

    @property
    def steady(self) -> list[SeriesPoint]:
        """The points that have a time which other processes did not disturb."""
        return [point for point in self.points if point.time is not None and not point.disturbed]


def cell_histories(files: Sequence[Results]) -> list[CellHistory]:
    """Return each cell's series, by hardware key, in the order of first appearance.

    Runs are in the order in which they began. A file that several commits or units measured is as
    many runs, each of the cells that it measured. Raises StoreError for a file of pairs, which has
    no series, and for a second file of one run.
    """
    _refuse_pairs_and_copies(files)
    parts = [
        (part, _cells(file) - _cells(part))
        for file in files
        for by_code in file.by_code()
        for part in by_code.by_unit()
    ]
    points: dict[tuple[str, Case, str], list[SeriesPoint]] = {}
    for part, elsewhere in sorted(parts, key=lambda it: (it[0].header.started, str(it[0].path))):
        run = PastRun(part.header, _log_canary(part.records))
        disturbed = _disturbed_cells(part.records)
        for (case, variant), state in run_states(part, normalise=False).items():
            if (case, variant) in elsewhere:
                continue
            key = machine_key(part.header.hardware), case, variant
            points.setdefault(key, []).append(_point(run, state, (case, variant) in disturbed))
    return [CellHistory(*key, tuple(series)) for key, series in points.items()]


def _cells(results: Results) -> set[Cell]:
    """Return the cells of which results have records."""
    return {(it.case, it.variant) for it in results.records if isinstance(it, CellRecord)}


def _refuse_pairs_and_copies(files: Sequence[Results]) -> None:
    headers: dict[bytes, Results] = {}
    for file in files:
        if any(is_duel_record(record) for record in file.records):
            raise StoreError(f"{file.path}: a file of pairs and no run's; name results of `run`")
        first = headers.setdefault(msgspec.json.encode(file.header), file)
        if first is not file:
            raise StoreError(f"{file.path}: the same run as {first.path}; name one of them")


def _point(run: PastRun, state: CellState, disturbed: bool) -> SeriesPoint:
    if state.status != "measured":
        return SeriesPoint(run, state.status, state.reason, None, 0, disturbed)
    if not state.figures:
        return SeriesPoint(run, "skipped", NOT_YET, None, 0, disturbed)
    passes = len(state.figures)
    return SeriesPoint(run, state.status, "", mean_over_passes(state.figures), passes, disturbed)


def _disturbed_cells(records: Iterable[object]) -> set[Cell]:
    """Return the cells whose turns, in all passes, were disturbed too often."""
    turns: Counter[Cell] = Counter()
    attempts: Counter[Cell] = Counter()
    for record in records:
        if isinstance(record, Time):
            turns[record.case, record.variant] += len(record.turns)
            attempts[record.case, record.variant] += record.disturbed
    return {cell for cell in turns if attempts[cell] > MOST_DISTURBED * turns[cell]}


def _log_canary(records: Iterable[object]) -> float | None:
    logs = [math.log(record.median_ms) for record in records if isinstance(record, Canary)]
    return statistics.fmean(logs) if logs else None
