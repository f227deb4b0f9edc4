"""The table of results, for people and for programs, and the fastest variant by length."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

import msgspec
from tabulate import tabulate

from reports.tables.cells import Group
from reports.tables.columns import COLUMNS, NOTES, Metric, length_of, mode_of, times
from reports.tables.conditions import caution, conditions
from reports.tables.row import NOT_YET, Row

_Key = TypeVar("_Key")
_Item = TypeVar("_Item")

TableFormat = Literal["simple", "github", "csv", "json"]
FORMULA_SIGNS = ("=", "+", "-", "@")
"""A spreadsheet takes a text that begins with one of these for a formula, unless a ' precedes."""

INTERVALS = ("time_ci_ms", "vs_no_bias_ci", "sm_clock_mhz")


def render(groups: Sequence[Group], layout: TableFormat, metric: Metric = "time") -> str:
    """Return all groups in one of the formats.

    json and csv have every row and every field; `metric` selects the columns of the others.
    """
    rows = [row for group in groups for row in group.rows]
    if layout == "json":
        return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode()
    if layout == "csv":
        return _csv(rows)
    return "\n\n".join(_for_people(group, layout, metric) for group in groups)


def _csv(rows: Sequence[Row]) -> str:
    headers = [header for name in Row.__struct_fields__ for header in _headers(name)]
    text = io.StringIO()
    writer = csv.DictWriter(text, headers, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(row) for row in rows)
    return text.getvalue().rstrip("\n")


def _headers(name: str) -> tuple[str, ...]:
    return (f"{name}_low", f"{name}_high") if name in INTERVALS else (name,)


def _flat(row: Row) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in msgspec.structs.asdict(row).items():
        if name in INTERVALS:
            flat |= zip(_headers(name), value or (None, None), strict=True)
        else:
            flat[name] = " ".join(map(str, value)) if isinstance(value, tuple) else value
        if isinstance(flat.get(name), str) and str(flat[name]).startswith(FORMULA_SIGNS):
            flat[name] = f"'{flat[name]}"
    return flat


def _for_people(group: Group, layout: str, metric: Metric) -> str:
    columns = COLUMNS[metric]
    headers = [column.header for column in columns]
    alignment = ["right" if column.figure else "left" for column in columns]
    parts = [conditions(group), caution(group)]
    ended = [row for row in group.rows if row.reason != NOT_YET]
    for shape, rows in by(shape_of, ended).items():
        lines = [
            [column.shows(row) for column in columns]
            for case_rows in by(_case, rows).values()
            for row in _in_order(case_rows)
        ]
        parts.append(shape)
        parts.append(tabulate(lines, headers, layout, colalign=alignment, disable_numparse=True))
        if metric == "time":
            parts.append(fastest(rows, layout))
            parts += [_recompilations(rows, layout), density_lines(rows, layout)]
            parts.append(pool_lines(rows, layout))
    parts += [NOTES[metric], reasons(ended, layout)]
    if len(ended) < len(group.rows):
        parts.append(f"{len(group.rows) - len(ended)} of {len(group.rows)} cells are {NOT_YET}")
    return "\n\n".join(part for part in parts if part)


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """Return the baselines, then variants from the fastest, then variants without a time."""
    return sorted(
        rows, key=lambda row: (row.answers == "alibi", row.rank is None, row.rank or 0, row.variant)
    )


def fastest(rows: Sequence[Row], layout: str) -> str:
    """Return a table of the fastest agreeing variant for each length, mode and dtype."""
    dtypes = list(by(lambda row: row.dtype, rows))
    lines = []
    by_length = by(lambda row: (length_of(row), mode_of(row)), rows)
    for (length, mode), line_rows in by_length.items():
        by_dtype = by(lambda row: row.dtype, line_rows)
        lines.append([length, mode, *(_winner(by_dtype.get(dtype, [])) for dtype in dtypes)])
    headers = ["fastest that agrees: length", "mode", *dtypes]
    return tabulate(lines, headers, layout, disable_numparse=True)


def _winner(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    winners = [row for row in rows if row.rank == 1]
    noisy = ", ".join(row.variant for row in rows if row.contradictory)
    if not winners:
        return f"too noisy: {noisy}" if noisy else "none"
    ratio = winners[0].vs_no_bias
    winner = winners[0].variant + ("" if ratio is None else f" {times(ratio)}")
    tied = (f" = {row.variant}{'?' if row.too_noisy else ''}" for row in rows if row.tied)
    return winner + "".join(tied) + (f" (too noisy: {noisy})" if noisy else "")


def reasons(rows: Sequence[Row], layout: str) -> str:
    """Return a line for each variant, status and reason of unmeasured cells."""
    unmeasured = [row for row in rows if row.status != "measured"]
    lines = []
    mark = "- " if layout == "github" else ""
    by_reason = by(lambda row: (row.variant, row.status, row.reason), unmeasured)
    for (variant, status, reason), alike in by_reason.items():
        cells = alike[0].case if len(alike) == 1 else f"{len(alike)} cells, {alike[0].case} first"
        text = f"{mark}{variant} {status} ({cells}): {reason}"
        lines.append(text.replace("<", "&lt;") if layout == "github" else text)
    return "\n".join(lines)


def _recompilations(rows: Sequence[Row], layout: str) -> str:
    """Return a line for each cell whose timed calls compiled graphs."""
    mark = "- " if layout == "github" else ""
    return "\n".join(
        f"{mark}{row.variant} {row.case}: {row.recompilations} graphs compiled in "
        + (f"{row.steps} steps" if row.steps else "timed calls")
        for row in rows
        if row.recompilations
    )


def density_lines(rows: Sequence[Row], layout: str) -> str:
    """Return a line for each variant that leaves pairs out: its density for this data, by case."""
    mark = "- " if layout == "github" else ""
    partial = [row for row in rows if row.density is not None]
    return "\n".join(
        f"{mark}{variant} looked at "
        + ", ".join(f"{row.density:.0%} of {row.case}" for row in variant_rows)
        for variant, variant_rows in by(lambda row: row.variant, partial).items()
    )


def pool_lines(rows: Sequence[Row], layout: str) -> str:
    """Return a line for each variant whose process had two OpenMP runtimes, which may interfere."""
    mark = "- " if layout == "github" else ""
    lines = {}
    for row in rows:
        runtimes = [pool.split(":")[1] for pool in row.thread_pools if pool.startswith("openmp:")]
        if len(runtimes) > 1:
            lines[row.variant] = f"{mark}{row.variant} had two OpenMPs: {', '.join(runtimes)}"
    return "\n".join(lines.values())


def shape_of(row: Row) -> str:
    """Return a case in words, without its length, dtype and mode; usual values are left out."""
    heads = f"{row.heads} heads of {row.head_dim}"
    if row.kv_heads != row.heads:
        heads += f" sharing {row.kv_heads} kv heads"
    parts = [f"Batch {row.batch}", heads, "causal" if row.causal else "bidirectional"]
    parts += [f"logit scale {row.logit_scale:g}"] if row.logit_scale != 1 else []
    parts += [f"bias max {row.bias_max:g}"] if row.bias_max != 8 else []
    parts += ["slopes over sqrt(d)"] if row.slope_scale != "1" else []
    parts += [f"scale {row.scale}"] if row.scale != "1/sqrt(d)" else []
    parts += [f"layout {row.layout}"] if row.layout != "bhnd" else []
    return ", ".join(parts)


def _case(row: Row) -> str:
    return row.case


def by(key: Callable[[_Item], _Key], items: Iterable[_Item]) -> dict[_Key, list[_Item]]:
    """Group items by key; keys and items stay in their order."""
    groups: dict[_Key, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
