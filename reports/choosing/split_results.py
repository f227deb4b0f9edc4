"""Results cut in two, so that what picks on one half is priced on the other."""

from collections.abc import Callable, Sequence

import msgspec

from suite.cases.case import Case
from suite.records.record import Record, Time
from suite.records.store import Results

Pass = tuple[int, int]
"""The number of a file, and of a pass in it."""


def split_rounds(files: Sequence[Results], parity: int) -> list[Results]:
    """Return files with the samples of every second round alone: the even or the odd ones."""

    def kept(_place: Pass, record: Record) -> Record | None:
        if not isinstance(record, Time):
            return record
        turns = tuple(turn for turn in record.turns if turn[0] % 2 == parity)
        return msgspec.structs.replace(record, turns=turns) if turns else None

    return _kept(files, kept)


def split_passes(files: Sequence[Results], half: int) -> list[Results]:
    """Return files with the times of one half of each case's passes: the first, or the rest."""
    places: dict[Case, list[Pass]] = {}
    for number, file in enumerate(files):
        for record in file.records:
            if isinstance(record, Time):
                places.setdefault(record.case, []).append((number, record.pass_number))
    halves = {case: _half(sorted(set(own)), half) for case, own in places.items()}

    def kept(place: Pass, record: Record) -> Record | None:
        wanted = not isinstance(record, Time) or place in halves[record.case]
        return record if wanted else None

    return _kept(files, kept)


def _half(places: Sequence[Pass], half: int) -> Sequence[Pass]:
    middle = len(places) // 2
    return places[middle:] if half else places[:middle]


def _kept(files: Sequence[Results], kept: Callable[[Pass, Record], Record | None]) -> list[Results]:
    return [
        file._replace(
            records=[
                left
                for record in file.records
                if (left := kept((number, getattr(record, "pass_number", 0)), record)) is not None
            ]
        )
        for number, file in enumerate(files)
    ]
