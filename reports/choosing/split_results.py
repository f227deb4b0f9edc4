"""Splits results in two halves: one half picks a variant, the other prices it."""

from collections.abc import Callable, Sequence

import msgspec

from reports.tables.rank import Pass
from suite.cases.case import Case
from suite.records.record import Record, Time
from suite.records.store import Results


def split_rounds(files: Sequence[Results], parity: int) -> list[Results]:
    """Return files with the samples of the even rounds alone (`parity` 0), or of the odd (1)."""

    def keep_rounds(_place: Pass, record: Record) -> Record | None:
        if not isinstance(record, Time):
            return record
        turns = tuple(turn for turn in record.turns if turn[0] % 2 == parity)
        return msgspec.structs.replace(record, turns=turns) if turns else None

    return _map_records(files, keep_rounds)


def split_passes(files: Sequence[Results], half: int) -> list[Results]:
    """Return files with the times of each case's first half of passes (0), or of the rest (1)."""
    places: dict[Case, list[Pass]] = {}
    for number, file in enumerate(files):
        for record in file.records:
            if isinstance(record, Time):
                places.setdefault(record.case, []).append((number, record.pass_number))
    halves = {case: _half(sorted(set(passes)), half) for case, passes in places.items()}

    def keep_half(place: Pass, record: Record) -> Record | None:
        stays = not isinstance(record, Time) or place in halves[record.case]
        return record if stays else None

    return _map_records(files, keep_half)


def _half(places: Sequence[Pass], half: int) -> Sequence[Pass]:
    middle = len(places) // 2
    return places[middle:] if half else places[:middle]


def _map_records(
    files: Sequence[Results], change: Callable[[Pass, Record], Record | None]
) -> list[Results]:
    """Return files with their records changed; a record that becomes None is left out."""
    changed_files = []
    for number, file in enumerate(files):
        changes = (
            change((number, getattr(record, "pass_number", 0)), record) for record in file.records
        )
        records = [record for record in changes if record is not None]
        changed_files.append(file._replace(records=records))
    return changed_files
