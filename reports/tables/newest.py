"""Results of several commits: of each cell only what the newest code measured counts.

A mean over two commits would be the speed of neither. Leaving the older files out altogether would
lose the cells that only they have.
"""

from collections.abc import Sequence
from typing import NamedTuple

from reports.tables.cells import Group, fold, measuring_conditions
from suite.cases.plan import Cell
from suite.records.record import CellRecord, Record
from suite.records.store import Results
from variants.catalog import BASELINE


class Newest(NamedTuple):
    """Files without the records that newer code replaces, and how many cells had such records."""

    files: list[Results]
    older_cells: int


def newest(files: Sequence[Results]) -> Newest:
    """Return files in which each cell has the records of one code: the newest that finished it.

    Code is as new as the last run that it began. The baseline's records stay, because each variant
    is compared with the baseline of its own race.
    """
    parts = [part for file in files for part in file.by_code()]
    codes_by_cell = _codes_by_cell(parts)

    def stays(record: Record, code: str) -> bool:
        if not isinstance(record, CellRecord) or record.variant == BASELINE.name:
            return True
        codes = codes_by_cell.get((record.case, record.variant))
        return codes is None or code == codes[-1]

    remaining = [
        part._replace(
            records=[each for each in part.records if stays(each, part.header.circumstances.code)]
        )
        for part in parts
    ]
    older_cells = sum(
        len(codes) > 1 and variant != BASELINE.name for (_, variant), codes in codes_by_cell.items()
    )
    return Newest(remaining, older_cells)


def _codes_by_cell(parts: Sequence[Results]) -> dict[Cell, list[str]]:
    """Return the codes that finished each cell, the newest last."""
    began: dict[str, str] = {}
    for part in parts:
        code = part.header.circumstances.code
        began[code] = max(part.header.started, began.get(code, ""))
    codes_by_cell: dict[Cell, list[str]] = {}
    for part in sorted(parts, key=lambda part: began[part.header.circumstances.code]):
        for case, variant, _ in part.finished_cells():
            codes = codes_by_cell.setdefault((case, variant), [])
            if part.header.circumstances.code not in codes:
                codes.append(part.header.circumstances.code)
    return codes_by_cell


def groups_of_newest(files: Sequence[Results]) -> list[Group]:
    """Fold files of any code into groups of comparable rows, each cell of its newest code."""
    alike: dict[bytes, list[Results]] = {}
    for file in files:
        alike.setdefault(measuring_conditions(file.header), []).append(file)
    return [fold(newest(members).files) for members in alike.values()]
