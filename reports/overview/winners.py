"""Who is fastest where: as a table, and as advice."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tabulate import tabulate

from reports.overview.places import Batch, by_length, by_section, lengths_of, order, places, span
from reports.overview.rows import interval
from reports.overview.units import duration
from reports.tables.columns import length_of, mode_of, times
from reports.tables.row import Row
from reports.tables.table import by
from reports.text.grid import GridColumn, grid
from reports.text.screen import Screen


class Winner(NamedTuple):
    """The fastest that agrees in one section at lengths that follow each other.

    `words` names it and what it is tied with. `rows` are its own, none where none agrees.
    """

    words: str
    rows: list[Row]
    lengths: list[str]


def fastest_table(rows: Sequence[Row], screen: Screen, batches: Mapping[Batch, str]) -> str:
    """Return a table of the fastest variants, lengths with the same one on one line.

    `batches` has the names of the group's long batches.
    """
    lines = [
        (section, winner, span(winner.lengths, lengths_of(part, batches)))
        for section, part in by_section(rows).items()
        for winner in _winners(part, batches)
    ]
    columns = [
        GridColumn("length", [text for *_, text in lines], wraps=True),
        GridColumn("dtype", [section.dtype for section, *_ in lines]),
        GridColumn("mode", [section.mode for section, *_ in lines], wraps=True),
        GridColumn("fastest that agrees", [winner.words for _, winner, _ in lines], wraps=True),
        GridColumn("vs no_bias", [_ratio_words(winner.rows) for _, winner, _ in lines]),
        GridColumn("time", [_time_words(winner.rows) for _, winner, _ in lines], spare=1),
    ]
    return grid(columns, screen.width)


def _winners(rows: Sequence[Row], batches: Mapping[Batch, str]) -> Iterator[Winner]:
    """Yield the winners of one section, from the shortest length to the longest."""
    last: Winner | None = None
    for case_rows in by_length(rows):
        words = _winner_words(case_rows, with_ratio=False)
        row = [row for row in case_rows if row.rank == 1]
        lengths = lengths_of(case_rows, batches)
        if last is not None and last.words == words:
            last = last._replace(rows=last.rows + row, lengths=last.lengths + lengths)
            continue
        if last is not None:
            yield last
        last = Winner(words, row, lengths)
    if last is not None:
        yield last


def _winner_words(rows: Sequence[Row], *, with_ratio: bool) -> str:
    """Return who is fastest of one case, and after = who is tied; ? is a tie by noise."""
    if not rows:
        return ""
    winners = [row for row in rows if row.rank == 1]
    noisy = ", ".join(row.variant for row in rows if row.contradictory)
    if not winners:
        return f"too noisy: {noisy}" if noisy else "none"
    ratio = winners[0].vs_no_bias if with_ratio else None
    winner = winners[0].variant + ("" if ratio is None else f" {times(ratio)}")
    tied = (f" = {row.variant}{'?' if row.too_noisy else ''}" for row in rows if row.tied)
    return winner + "".join(tied) + (f" (too noisy: {noisy})" if noisy else "")


def _ratio_words(rows: Sequence[Row]) -> str:
    """Return the range of ratios over lengths, or one ratio with its interval."""
    ratios = [row.vs_no_bias for row in rows if row.vs_no_bias is not None]
    if len(ratios) == 1 and interval(rows[0]):
        return f"{times(ratios[0])} ({interval(rows[0])})"
    return _range([times(ratio) for ratio in sorted(ratios)])


def _time_words(rows: Sequence[Row]) -> str:
    return _range([duration(ms) for ms in sorted(row.time_ms or 0.0 for row in rows)])


def _range(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def advice(rows: Sequence[Row], *, trusted: bool) -> list[str]:
    """Return what to use where, a line for each variant, the one that wins most first.

    Without trust a line names the fastest and says to measure again.
    """
    winners = [row for row in rows if row.rank == 1]
    by_variant = by(lambda row: row.variant, winners)
    lines = []
    for variant, won in sorted(by_variant.items(), key=lambda item: -len(item[1])):
        ratios = sorted(row.vs_no_bias for row in won if row.vs_no_bias is not None)
        figures = _range([times(ratio) for ratio in ratios])
        where = f"{figures + ' ' if figures else ''}at {places(won, rows)}"
        if trusted:
            lines.append(f"Use {variant}: {where}")
        else:
            lines.append(f"Measure again before you use {variant}: {where}, if that is true")
    cases_won = {row.case for row in winners}
    lost = [row for row in rows if row.case not in cases_won]
    if lost:
        is_noise = any(row.contradictory for row in lost)
        why = "too noisy to rank" if is_noise else "none was measured that agrees"
        lines.append(f"Use none of these at {places(lost, rows)}: {why}")
    return lines


def fastest(rows: Sequence[Row]) -> str:
    """Return a Markdown table of the fastest by length and mode, with a column for each dtype."""
    dtypes = list(by(lambda row: row.dtype, rows))
    modes = list(by(mode_of, rows))
    in_order = sorted(rows, key=lambda row: (modes.index(mode_of(row)), order(row)))
    lines = []
    for (length, mode), line_rows in by(
        lambda row: (length_of(row), mode_of(row)), in_order
    ).items():
        by_dtype = by(lambda row: row.dtype, line_rows)
        winners = (_winner_words(by_dtype.get(dtype, []), with_ratio=True) for dtype in dtypes)
        lines.append([length, mode, *winners])
    headers = ["fastest that agrees: length", "mode", *dtypes]
    return tabulate(lines, headers, "github", disable_numparse=True)
