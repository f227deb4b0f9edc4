"""Rows for programs, as json and csv; and rows grouped, for whatever shows them to people."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

import msgspec

from reports.tables.cells import Group
from reports.tables.row import Row

_Key = TypeVar("_Key")
_Item = TypeVar("_Item")

ProgramFormat = Literal["csv", "json"]
FORMULA_SIGNS = ("=", "+", "-", "@")
"""A spreadsheet takes a text that begins with one of these for a formula, unless a ' precedes."""

INTERVALS = ("time_ci_ms", "vs_no_bias_ci", "sm_clock_mhz")


def render(groups: Sequence[Group], form: ProgramFormat) -> str:
    """Return every row of all groups with every field, as a JSON list or as csv."""
    rows = [row for group in groups for row in group.rows]
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode()
    return _csv(rows)


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


def by(key: Callable[[_Item], _Key], items: Iterable[_Item]) -> dict[_Key, list[_Item]]:
    """Group items by key; keys and items stay in their order."""
    groups: dict[_Key, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
