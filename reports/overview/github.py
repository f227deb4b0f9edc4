"""Results as Markdown, for wide pages: every row with every column that has a figure."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from reports.overview.places import by_section
from reports.overview.remarks import (
    densities,
    footnotes,
    recompilations,
    thread_pools,
    unmeasured_note,
)
from reports.overview.winners import fastest
from reports.tables.cells import Group
from reports.tables.columns import COLUMNS, NOTES, Metric
from reports.tables.conditions import caution, conditions, distrust
from reports.tables.row import NOT_YET, Row
from reports.tables.table import by, shape_of


def page(groups: Sequence[Group], metric: Metric = "time") -> str:
    """Return all groups as Markdown; `metric` selects the columns."""
    return "\n\n".join(_group(group, metric) for group in groups)


def _group(group: Group, metric: Metric) -> str:
    rows = [row for row in group.rows if row.reason != NOT_YET]
    parts = [distrust(group), conditions(group), caution(group)]
    for shape, shape_rows in by(shape_of, rows).items():
        parts.append(shape)
        parts += [fastest(shape_rows)] if metric == "time" else []
        parts.append(_table(shape_rows, metric))
    if metric == "time":
        parts.append(_points([*recompilations(rows), *densities(rows), *thread_pools(rows)]))
    is_explained = metric != "time" or any("% GEMM" in part for part in parts)
    parts += [NOTES[metric] if is_explained else "", _points(note.text for note in footnotes(rows))]
    parts.append(unmeasured_note(group.rows))
    return "\n\n".join(part for part in parts if part)


def _table(rows: Sequence[Row], metric: Metric) -> str:
    ordered = [row for part in by_section(rows).values() for row in part]
    columns = [c for c in COLUMNS[metric] if any(c.shows(row) for row in ordered)]
    return tabulate(
        [[column.shows(row) for column in columns] for row in ordered],
        [column.header for column in columns],
        "github",
        colalign=["right" if column.figure else "left" for column in columns],
        disable_numparse=True,
    )


def _points(lines: Iterable[str]) -> str:
    """Return a list of lines that have no markup of their own."""
    return "\n".join(f"- {line}".replace("<", "&lt;") for line in lines)
