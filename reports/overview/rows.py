"""Rows for a terminal: a line for each variant, with the columns that a width allows."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from reports.overview.places import Batch, short_length
from reports.overview.units import duration, size
from reports.tables.columns import (
    Metric,
    RankWords,
    break_even,
    clocks,
    half_width,
    percent,
    rank_of_measured,
    scientific,
    share_of_budget,
    three_digits,
    times,
)
from reports.tables.row import Row
from reports.text.grid import GridColumn, grid
from reports.text.screen import Screen
from variants.catalog import BASELINE

WINNER, TIED = "*", "="
IN_SHORT = RankWords("too noisy", "tied?", "tied")


class Figure(NamedTuple):
    """A column of figures: header, the text for a row, and how soon it gives way (`GridColumn`)."""

    header: str
    shows: Callable[[Row], str]
    spare: int = 0


def interval(row: Row) -> str:
    """Return the interval of a row's ratio; an empty text without one, and for the baseline."""
    if row.vs_no_bias_ci is None or row.variant == BASELINE.name:
        return ""
    return " to ".join(times(end).removesuffix("x") for end in row.vs_no_bias_ci)


def _seconds(value: float | None) -> str:
    return duration(None if value is None else 1000 * value)


def _count(value: int) -> str:
    return str(value) if value else ""


_TIME = Figure("time", lambda row: duration(row.time_ms))

FIGURES: dict[Metric, tuple[Figure, ...]] = {
    "time": (
        _TIME,
        Figure("±", lambda row: half_width(row) and f"{half_width(row)}%", 2),
        Figure(
            f"vs {BASELINE.name}",
            lambda row: "" if row.vs_no_bias is None else times(row.vs_no_bias),
        ),
        Figure("interval", interval, 1),
        Figure("error", lambda row: "" if row.error is None else f"{row.error:.0e}", 3),
        Figure("TFLOP/s", lambda row: three_digits(row.tflops), 4),
        Figure("% GEMM", lambda row: percent(row.gemm_share), 5),
        Figure("% copy", lambda row: percent(row.copy_share), 6),
    ),
    "memory": (
        Figure("peak", lambda row: size(row.peak_bytes)),
        Figure("kept", lambda row: size(row.persistent_bytes)),
        Figure("resident", lambda row: size(row.resident_bytes), 2),
        Figure("NVML", lambda row: size(row.nvml_bytes), 1),
        _TIME,
    ),
    "error": (
        Figure("error", lambda row: scientific(row.error)),
        Figure("budget", lambda row: scientific(row.error_budget)),
        Figure("% of budget", share_of_budget),
    ),
    "start": (
        Figure("prepare", lambda row: _seconds(row.prepare_s)),
        Figure("cold\nstart", lambda row: _seconds(row.first_call_s)),
        Figure("warm\nstart", lambda row: _seconds(row.warm_first_call_s)),
        _TIME._replace(spare=1),
        Figure("pays\nafter", break_even),
    ),
    "clock": (
        _TIME,
        Figure("series", lambda row: row.cost or ""),
        Figure("device", lambda row: duration(row.device_ms)),
        Figure("hot L2", lambda row: duration(row.device_hot_ms), 1),
        Figure("issue", lambda row: duration(row.issue_ms)),
        Figure("wall", lambda row: duration(row.wall_ms), 2),
        Figure("graph", lambda row: duration(row.graph_ms), 3),
        Figure("SM MHz", clocks, 4),
        Figure("turns\nthrottled", lambda row: _count(row.throttled), 5),
        Figure("turns\ndisturbed", lambda row: _count(row.disturbed), 6),
    ),
}


def row_table(
    rows: Sequence[Row],
    metric: Metric,
    screen: Screen,
    numbers: Mapping[str, int],
    batches: Mapping[Batch, str],
) -> str:
    """Return the rows of one section, the winner of each length marked.

    `rows` are in order. `numbers` has the footnote of a row by `row_key`, `batches` the
    names of the group's long batches.
    """
    columns = [
        GridColumn("length", [short_length(row, batches) for row in rows], right=True, wraps=True),
        GridColumn("", [mark(row) for row in rows]),
        GridColumn("variant", [row.variant for row in rows], wraps=True),
        *(
            GridColumn(figure.header, [figure.shows(row) for row in rows], True, figure.spare)
            for figure in FIGURES[metric]
        ),
        GridColumn("rank", [rank_words(row, numbers) for row in rows], wraps=True),
    ]
    return grid(columns, screen.width, [screen.bold and row.rank == 1 for row in rows])


def mark(row: Row) -> str:
    """Return the mark of the fastest, of what is tied with it, or an empty text."""
    return WINNER if row.rank == 1 else TIED if row.tied else ""


def row_key(row: Row) -> str:
    """Return what names a row among the rows of a group."""
    return f"{row.case} {row.variant}"


def rank_words(row: Row, numbers: Mapping[str, int]) -> str:
    """Return a row's rank, or what it has in place of one with the number of its footnote."""
    if row.status != "measured":
        number = numbers.get(row_key(row))
        return row.status + ("" if number is None else f" [{number}]")
    return rank_of_measured(row, IN_SHORT)
