"""What to know of rows besides their figures, as lines: reasons, densities, compiled graphs."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from reports.overview.places import (
    Batch,
    batch_names,
    by_length,
    places,
    section_of,
    section_words,
    short_length,
)
from reports.tables.row import NOT_YET, Row
from reports.tables.table import by


class Footnote(NamedTuple):
    """Why cells of one variant have no time: the cells, in order, and the text."""

    rows: list[Row]
    text: str


def footnotes(rows: Sequence[Row]) -> list[Footnote]:
    """Return a footnote for each variant, status and reason of unmeasured cells.

    Disagreements of a variant differ in figures alone: one footnote has the worst.
    """
    ended = [row for row in rows if row.status != "measured"]
    alike = by(_cause, ended)
    return [Footnote(part, _footnote(part, rows)) for part in alike.values()]


def _cause(row: Row) -> tuple[str, str, str | None]:
    return row.variant, row.status, None if row.status == "disagrees" else row.reason


def _footnote(part: Sequence[Row], rows: Sequence[Row]) -> str:
    worst = max(part, key=_excess)
    where = f"at {places(part, rows)}"
    reasons = {row.reason for row in part}
    most = "" if len(reasons) == 1 else f"worst at {places([worst], rows)}: "
    return f"{worst.variant} {worst.status} {where}: {most}{worst.reason}"


def _excess(row: Row) -> float:
    """Return how often a row's error is its budget; no finite error is the worst."""
    if row.error is None:
        return math.inf
    return row.error / row.error_budget if row.error_budget else 0.0


def recompilations(rows: Sequence[Row]) -> list[str]:
    """Return a line for each cell whose timed calls compiled graphs."""
    return [
        f"{row.variant} {row.case}: {row.recompilations} graphs compiled in "
        + (f"{row.steps} steps" if row.steps else "timed calls")
        for row in rows
        if row.recompilations
    ]


def densities(rows: Sequence[Row]) -> list[str]:
    """Return a line for each variant that leaves pairs out: its density for this data by length."""
    lines, batches = [], batch_names(rows)
    partial = [row for row in rows if row.density is not None]
    for variant, variant_rows in by(lambda row: row.variant, partial).items():
        parts = [_density(part, rows, batches) for part in by(section_of, variant_rows).values()]
        lines.append(f"{variant} looked at {'; '.join(parts)}")
    return lines


def _density(part: Sequence[Row], rows: Sequence[Row], batches: Mapping[Batch, str]) -> str:
    """Return the densities of one section, of more than three lengths those of the ends."""
    lengths = by_length(part)
    shown = lengths if len(lengths) <= 3 else [lengths[0], lengths[-1]]
    shares = [f"{row.density:.0%} at {short_length(row, batches)}" for row, *_ in shown]
    shares[0] = shares[0].replace("%", "% of the pairs", 1)
    words = (", " if len(lengths) <= 3 else " to ").join(shares)
    return f"{words}{section_words(part[0], rows)}"


def thread_pools(rows: Sequence[Row]) -> list[str]:
    """Return a line for each variant whose process had two OpenMP runtimes, which may interfere."""
    lines = {}
    for row in rows:
        runtimes = [pool.split(":")[1] for pool in row.thread_pools if pool.startswith("openmp:")]
        if len(runtimes) > 1:
            lines[row.variant] = f"{row.variant} had two OpenMPs: {', '.join(runtimes)}"
    return list(lines.values())


def unmeasured_note(rows: Sequence[Row]) -> str:
    """Return how many cells of a plan are not measured yet; an empty text if all are."""
    waiting = sum(row.reason == NOT_YET for row in rows)
    return f"{waiting} of {len(rows)} cells are {NOT_YET}" if waiting else ""
