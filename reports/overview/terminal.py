"""Results for a terminal: who is fastest, the rows, what to use, and what to be careful about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from reports.overview.places import Batch, Section, batch_names, by_length, by_section
from reports.overview.ratios import FOLDED_ABOVE, ratio_table
from reports.overview.remarks import (
    densities,
    footnotes,
    recompilations,
    thread_pools,
    unmeasured_note,
)
from reports.overview.rows import row_key, row_table
from reports.overview.winners import advice, fastest_table
from reports.tables.cells import Group
from reports.tables.columns import NOTES, Metric
from reports.tables.conditions import caution, conditions, distrust
from reports.tables.row import NOT_YET, Row
from reports.tables.table import by, shape_of
from reports.text.paragraph import paragraph
from reports.text.screen import Screen

_INDENT = "  "
_RATIOS = (
    "Ratios are times over no_bias's, attention without a bias: less is faster. * marks the "
    "fastest, = what is tied with it"
)
_BY_NOISE = ", and = with tied? what is too noisy to tell from it"
_FOLD_NOTE = (
    f"Runs of over {FOLDED_ABOVE} lengths show ratios alone; --format github has a row with its "
    "interval for each."
)
_START = "cold and warm start: the first call with an empty and with a filled compile cache. "
_ONE_CLOCK = "On a CPU the time of a call is the only series."


def overview(groups: Sequence[Group], metric: Metric, screen: Screen) -> str:
    """Return all groups as text that fits a screen; `metric` selects the columns."""
    return "\n\n\n".join(_group(group, metric, screen) for group in groups)


def _group(group: Group, metric: Metric, screen: Screen) -> str:
    rows = [row for row in group.rows if row.reason != NOT_YET]
    notes = footnotes(rows)
    numbers = {row_key(row): n for n, note in enumerate(notes, 1) for row in note.rows}
    batches, doubt = batch_names(rows), distrust(group)
    is_time = metric == "time"
    remarks = [*recompilations(rows), *densities(rows), *thread_pools(rows)]
    tables = list(_sections(rows, metric, screen, numbers, batches))
    parts = [
        _lines([doubt], screen),
        _lines([conditions(group)], screen),
        *(_fastest(rows, screen, batches) if is_time else ()),
        *tables,
        _lines(advice(rows, trusted=not doubt) if is_time else (), screen),
        _lines([caution(group)], screen),
        _lines(remarks if is_time else (), screen),
        _lines(_legend(rows, metric, tables), screen),
        _lines([f"[{n}] {note.text}" for n, note in enumerate(notes, 1)], screen),
        _lines([unmeasured_note(group.rows)], screen),
    ]
    return "\n\n".join(part for part in parts if part)


def _fastest(rows: Sequence[Row], screen: Screen, batches: Mapping[Batch, str]) -> Iterator[str]:
    """Yield each shape and who is fastest in it."""
    for shape, shape_rows in by(shape_of, rows).items():
        yield _lines([shape], screen)
        yield fastest_table(shape_rows, screen, batches)


def _sections(
    rows: Sequence[Row],
    metric: Metric,
    screen: Screen,
    numbers: Mapping[str, int],
    batches: Mapping[Batch, str],
) -> Iterator[str]:
    """Yield a heading and a table for each section."""
    shapes = len(by(shape_of, rows))
    for section, part in by_section(rows).items():
        yield _lines([_heading(section, shapes)], screen)
        if metric == "time" and _is_long(part):
            yield ratio_table(part, screen, numbers, batches)
        else:
            yield row_table(part, metric, screen, numbers, batches)


def _heading(section: Section, shapes: int) -> str:
    """Return what rows have in common; their shape too where there are several."""
    words = f"{section.dtype}, {section.mode}"
    return f"{words}; {section.shape}" if shapes > 1 else words


def _is_long(part: Sequence[Row]) -> bool:
    return len(by_length(part)) > FOLDED_ABOVE


def _legend(rows: Sequence[Row], metric: Metric, tables: Sequence[str]) -> Iterator[str]:
    """Yield what the columns mean that are shown."""
    if metric == "time":
        if any(row.vs_no_bias is not None for row in rows):
            yield f"{_RATIOS}{_BY_NOISE if any(row.too_noisy for row in rows) else ''}."
        if any(map(_is_long, by_section(rows).values())):
            yield _FOLD_NOTE
        yield NOTES[metric] if any("% GEMM" in table for table in tables) else ""
    elif metric == "clock" and all(row.device_ms is None for row in rows):
        yield _ONE_CLOCK
    else:
        yield (_START if metric == "start" else "") + NOTES[metric]


def _lines(lines: Iterable[str], screen: Screen) -> str:
    """Return lines that fit, each with what doesn't fit in its first line below it."""
    return "\n".join(paragraph(line, screen.width, _INDENT) for line in lines if line)
