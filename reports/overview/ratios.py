"""A long run folded by length: a line for each variant, and a column for each length."""

import math
import statistics
from collections.abc import Mapping, Sequence

from reports.overview.places import Batch, by_length, short_length
from reports.overview.rows import mark, row_key
from reports.overview.units import duration
from reports.tables.columns import times
from reports.tables.row import Row
from reports.tables.table import by
from reports.text.grid import GAP, GridColumn, grid
from reports.text.screen import Screen

FOLDED_ABOVE = 4
"""The number of lengths of a section above which its rows are folded."""


def ratio_table(
    rows: Sequence[Row],
    screen: Screen,
    numbers: Mapping[str, int],
    batches: Mapping[Batch, str],
) -> str:
    """Return the ratios of one section, or the times where there is no baseline.

    Lengths that don't fit beside each other follow in another table. `numbers` and
    `batches` are those of `row_table`.
    """
    by_variant = sorted(by(lambda row: row.variant, rows).items(), key=lambda item: _speed(item[1]))
    names = GridColumn("variant", [variant for variant, _ in by_variant])
    columns = []
    for part in by_length(rows):
        texts = {row.variant: _text(row, numbers) for row in part}
        shown = [texts.get(variant, "") for variant, _ in by_variant]
        columns.append(GridColumn(short_length(part[0], batches), shown, right=True))
    tables: list[list[GridColumn]] = [[names]]
    for column in columns:
        taken = sum(each.width + GAP for each in tables[-1])
        if taken + column.width > screen.width and len(tables[-1]) > 1:
            tables.append([names])
        tables[-1].append(column)
    return "\n\n".join(grid(table, screen.width) for table in tables)


def _text(row: Row, numbers: Mapping[str, int]) -> str:
    if row.status != "measured":
        number = numbers.get(row_key(row))
        return "" if number is None else f"[{number}]"
    if row.contradictory:
        return "noisy"
    if row.answers != "alibi" or row.vs_no_bias is None:
        return duration(row.time_ms)
    return f"{times(row.vs_no_bias)}{mark(row) or ' '}"


def _speed(rows: Sequence[Row]) -> tuple[bool, float]:
    """Sort the baselines first, then variants by their mean ratio or time, then those without."""
    figures = [row.vs_no_bias or row.time_ms for row in rows]
    logs = [math.log(figure) for figure in figures if figure]
    return rows[0].answers == "alibi", statistics.fmean(logs) if logs else math.inf
