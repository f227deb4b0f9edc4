"""Cells whose cost is the host's time, which other work on the host would falsify."""

from collections.abc import Sequence

from suite.records.record import CellRecord, Time
from variants.catalog import BASELINE

HOST_SERIES = {"issue", "wall"}


def without_host_bound(records: Sequence[CellRecord]) -> list[CellRecord]:
    """Return a race's records without those of the cells whose cost is the host's time.

    Where the baseline is such a cell, so are all ratios to it, and nothing is returned.
    """
    host_bound = {
        record.variant
        for record in records
        if isinstance(record, Time) and record.cost in HOST_SERIES
    }
    if BASELINE.name in host_bound:
        return []
    return [record for record in records if record.variant not in host_bound]
