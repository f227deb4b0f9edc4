"""What became of each cell of a run of the fake variants, and which of its processes live."""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from suite.records.record import Agreement, CellRecord, Fault, Time
from suite.records.store import read

ROOT = Path(__file__).parents[2]
OWNER = "TEST_THAT_OWNS_THIS_PROCESS"


def processes_of(owner: str) -> list[psutil.Process]:
    """Return the living processes that were started, by whomever, for the test `owner`."""
    owned = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if (
                process.pid != os.getpid()
                and process.environ().get(OWNER) == owner
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                owned.append(process)
    return owned


def children() -> set[psutil.Process]:
    """Return the living processes that this one and its children started.

    A browser that earlier tests share may be among them.
    """
    return set(psutil.Process().children(recursive=True))


def cells(file: Path) -> dict[tuple[str, int], list[CellRecord]]:
    """Return the records of each (variant, q_len)."""
    by_cell: dict[tuple[str, int], list[CellRecord]] = {}
    for record in read(file).records:
        if isinstance(record, Agreement | Time | Fault):
            by_cell.setdefault((record.variant, record.case.q_len), []).append(record)
    return by_cell


def is_measured(records: list[CellRecord], heats: int = 1) -> bool:
    """Whether a cell was checked, timed and checked again, in so many heats of a race each.

    The check of a small case, once a run, does not count.
    """
    kinds = Counter(
        type(record).__name__
        for record in records
        if not (isinstance(record, Agreement) and record.stage == "small")
    )
    races = {record.race for record in records if isinstance(record, Time)}
    return kinds == Counter({"Agreement": 2 * heats, "Time": heats}) and len(races) == heats
