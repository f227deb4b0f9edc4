"""One table across hardware: for each case the fastest variant on each device, side by side."""

from collections.abc import Sequence

from reports.tables.cells import Group, groups
from reports.tables.row import Row
from reports.text.grid import GridColumn, grid
from reports.text.paragraph import paragraph
from suite.records.store import Results

_RIGHT = {"ms", "± %", "vs no_bias"}
_HEADERS = ("case", "on", "fastest", "ms", "± %", "vs no_bias")


def hardware_table(files: Sequence[Results], width: int) -> str:
    """Return the table in at most `width` columns, with letters for devices and what they mean.

    Times of different devices stand beside each other and are not ranked: software and policy may
    differ between them.
    """
    measured = groups(files)
    letters = [chr(ord("A") + number % 26) * (1 + number // 26) for number in range(len(measured))]
    cases = dict.fromkeys(row.case for group in measured for row in group.rows)
    lines = [
        _line(case, letter, [row for row in group.rows if row.case == case])
        for case in cases
        for letter, group in zip(letters, measured, strict=True)
        if any(row.case == case for row in group.rows)
    ]
    columns = [
        GridColumn(header, texts, right=header in _RIGHT)
        for header, texts in zip(_HEADERS, zip(*lines, strict=True), strict=True)
    ]
    legend = [
        paragraph(f"{letter}: {_device(group)}", width, "   ")
        for letter, group in zip(letters, measured, strict=True)
    ]
    return "\n".join([grid(columns, width), "", *legend])


def _line(case: str, letter: str, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the line of the fastest variant of a case on a device, or of why there is none."""
    best = next((row for row in rows if row.rank == 1), None)
    if best is None or best.time_ms is None:
        statuses = dict.fromkeys(row.status for row in rows if row.status != "measured")
        return (case, letter, ", ".join(statuses) or "no rank", "", "", "")
    half = ""
    if best.time_ci_ms is not None:
        low, high = best.time_ci_ms
        half = f"{(high - low) / 2 / best.time_ms:.0%}".removesuffix("%")
    ratio = "" if best.vs_no_bias is None else f"{best.vs_no_bias:.2f}x"
    return (case, letter, best.variant, f"{best.time_ms:.3g}", half, ratio)


def _device(group: Group) -> str:
    unit = f", unit {group.unit}" if group.unit else ""
    return f"{group.header.hardware.key}{unit}"
