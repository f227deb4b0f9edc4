"""The table of results, for people and for programs, and which variant is fastest where."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec
from tabulate import tabulate

from reports.cells import Group, Row
from variants.catalog import BASELINE

_Key = TypeVar("_Key")

Format = Literal["simple", "github", "csv", "json"]

_COLUMNS = {
    "length": "right",
    "dtype": "left",
    "mode": "left",
    "variant": "left",
    "ms": "right",
    "± %": "right",
    f"vs {BASELINE.name}": "right",
    "TFLOP/s": "right",
    "error": "right",
    "rank": "left",
}


def render(groups: Sequence[Group], layout: Format) -> str:
    """Return all groups in one of the formats; json and csv have every row and every field."""
    rows = [row for group in groups for row in group.rows]
    if layout == "json":
        return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode()
    if layout == "csv":
        return _csv(rows)
    return "\n\n".join(_for_people(group, layout) for group in groups)


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, Row.__struct_fields__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(msgspec.to_builtins(row) for row in rows)
    return text.getvalue().rstrip("\n")


def _for_people(group: Group, layout: str) -> str:
    parts = [_conditions(group)]
    for shape, rows in _by(_shape, group.rows).items():
        parts.append(shape)
        lines = [_line(row) for own in _by(_case, rows).values() for row in _in_order(own)]
        alignment = tuple(_COLUMNS.values())
        parts.append(
            tabulate(lines, list(_COLUMNS), layout, colalign=alignment, disable_numparse=True)
        )
        parts.append(_fastest(rows, layout))
    parts.append(_reasons(group.rows))
    return "\n\n".join(part for part in parts if part)


def _conditions(group: Group) -> str:
    machine = group.machine
    software = ", ".join(f"{name} {v}" for name, v in machine.software.items() if v != "absent")
    passes = max((row.passes for row in group.rows), default=0)
    canaries = ", ".join(f"{canary:.1f}" for canary in group.canaries_ms)
    return (
        f"{machine.hardware.name}; {software}; {machine.policy.threads} threads; "
        f"median of {passes} pass{'' if passes == 1 else 'es'}; "
        f"canary (1024 x 1024 float32 product) {canaries} ms"
    )


def _line(row: Row) -> tuple[str, ...]:
    return (
        str(row.kv_len) if row.q_len == row.kv_len else f"{row.q_len} of {row.kv_len}",
        row.dtype,
        row.mode,
        row.variant,
        _figure(row.time_ms),
        _half_width(row),
        "" if row.vs_no_bias is None else f"{row.vs_no_bias:.2f}x",
        _figure(row.tflops),
        "" if row.error is None else f"{row.error:.0e}",
        _place(row),
    )


def _figure(value: float | None) -> str:
    """Return three significant digits, without an exponent."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}" if value >= 0.01 else f"{value:.4f}"


def _half_width(row: Row) -> str:
    if row.time_ci_ms is None or row.time_ms is None:
        return ""
    low, high = row.time_ci_ms
    return f"{100 * (high - low) / (2 * row.time_ms):.0f}"


def _place(row: Row) -> str:
    if row.status != "measured":
        return row.status
    if row.rank is None:
        return "baseline"
    return f"{row.rank} (tied with 1)" if row.tied else str(row.rank)


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """Return the baseline, then variants from the fastest, then what was not measured."""
    return sorted(
        rows, key=lambda row: (row.answers == "alibi", row.rank is None, row.rank or 0, row.variant)
    )


def _fastest(rows: Sequence[Row], layout: str) -> str:
    """Return a table of the fastest agreeing variant for each length, mode and dtype."""
    dtypes = list(_by(lambda row: row.dtype, rows))
    lines = []
    for (length, mode), own in _by(lambda row: (row.kv_len, row.mode), rows).items():
        winners = {row.dtype: row for row in own if row.rank == 1}
        tied = _by(lambda row: row.dtype, [row for row in own if row.tied])
        cells = [_winner(winners.get(dtype), tied.get(dtype, [])) for dtype in dtypes]
        lines.append([str(length), mode, *cells])
    headers = ["fastest that agrees: length", "mode", *dtypes]
    return tabulate(lines, headers, layout, disable_numparse=True)


def _winner(winner: Row | None, tied: Sequence[Row]) -> str:
    if winner is None:
        return "none"
    ratio = "" if winner.vs_no_bias is None else f" {winner.vs_no_bias:.2f}x"
    return winner.variant + ratio + "".join(f" = {row.variant}" for row in tied)


def _reasons(rows: Sequence[Row]) -> str:
    """Return a line for each way in which cells were not measured, with the cells it befell."""
    unmeasured = [row for row in rows if row.status != "measured"]
    lines = []
    for (variant, status, reason), own in _by(
        lambda row: (row.variant, row.status, row.reason), unmeasured
    ).items():
        cells = own[0].case if len(own) == 1 else f"{len(own)} cells, {own[0].case} first"
        lines.append(f"{variant} {status} ({cells}): {reason}")
    return "\n".join(lines)


def _shape(row: Row) -> str:
    heads = f"{row.heads} heads of {row.head_dim}"
    if row.kv_heads != row.heads:
        heads += f" sharing {row.kv_heads} kv heads"
    return f"Batch {row.batch}, {heads}, {'causal' if row.causal else 'bidirectional'}"


def _case(row: Row) -> str:
    return row.case


def _by(key: Callable[[Row], _Key], rows: Sequence[Row]) -> dict[_Key, list[Row]]:
    found: dict[_Key, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found
