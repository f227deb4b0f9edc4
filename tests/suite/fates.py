"""What became of each cell of a run of the fake variants, and which of its lanes still live."""

from collections import Counter
from pathlib import Path

import psutil

from suite.records.record import Agreement, CellRecord, Fault, Time
from suite.records.store import read

ROOT = Path(__file__).parents[2]


def lanes() -> list[str]:
    """Return the command lines of living lanes that serve this tree's tests."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        words = " ".join(process.info["cmdline"] or [])
        if (
            "suite.lanes.lane" in words
            and "tests.fakes" in words
            and process.info["cwd"] == str(ROOT)
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ):
            found.append(words)
    return found


def cells(file: Path) -> dict[tuple[str, int], list[CellRecord]]:
    """Return the records of each (variant, q_len)."""
    found: dict[tuple[str, int], list[CellRecord]] = {}
    for record in read(file).records:
        if isinstance(record, Agreement | Time | Fault):
            found.setdefault((record.variant, record.case.q_len), []).append(record)
    return found


def measured(records: list[CellRecord], heats: int = 1) -> bool:
    """Whether a cell was checked, timed and checked again, in so many heats of a race each."""
    kinds = Counter(type(record).__name__ for record in records)
    races = {record.race for record in records if isinstance(record, Time)}
    return kinds == Counter({"Agreement": 2 * heats, "Time": heats}) and len(races) == heats
