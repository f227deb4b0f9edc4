"""A comparison for people and for programs: a table, reasons, and one line of summary."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from tabulate import tabulate

from reports.text.grid import GridColumn, grid
from reports.text.paragraph import paragraph
from reports.text.screen import IN_A_PIPE, Screen
from reports.verdicts.comparison import Comparison, Line, Verdict

VerdictFormat = Literal["simple", "github", "json"]

_HEADERS = ("case", "variant", "verdict", "head / base", "95% interval", "n", "memory", "error")
_ALIGNMENT = ("left", "left", "left", "right", "right", "right", "right", "right")
_NOTE_HEADER = "also"
_MOST_NAMED = 3
"""The cells that are named with a reason that they share; of more, the first is."""
_WORST_FIRST: tuple[Verdict, ...] = ("wrong", "missing", "slower", "faster", "inconclusive", "same")


def render(comparison: Comparison, layout: VerdictFormat, screen: Screen = IN_A_PIPE) -> str:
    """Return a comparison in one of the formats; regressions and bad verdicts come first."""
    if layout == "json":
        return msgspec.json.format(
            msgspec.json.encode(comparison_fields(comparison)), indent=2
        ).decode()
    lines = worst_first(comparison.lines)
    title = f"{comparison.head} against {comparison.base}"
    if layout == "github":
        parts = [title, "\n".join(comparison.notes), table(lines), reasons(lines)]
        return "\n\n".join(part for part in (*parts, summary(comparison)) if part)
    remarks = _reasons_once(lines)
    remarks += [
        f"{line.variant} {line.case}: {_memory_and_error(line)}"
        for line in lines
        if line.heavier or line.less_exact
    ]
    above, notes, *under = (
        "\n".join(paragraph(text, screen.width, "  ") for text in texts)
        for texts in ([title], comparison.notes, remarks, [summary(comparison)])
    )
    parts = [above, notes, _terminal(lines, screen), *under]
    return "\n\n".join(part for part in parts if part)


def worst_first(lines: Sequence[Line]) -> list[Line]:
    """Return lines in the order to read them: regressions, then other changes, then the rest."""
    return sorted(lines, key=lambda line: (not line.regressed, _WORST_FIRST.index(line.verdict)))


def table(lines: Sequence[Line]) -> str:
    """Return a Markdown table of lines in their order."""
    rows = [_line_cells(line) for line in lines]
    alignment = _ALIGNMENT if rows else None
    return tabulate(rows, _HEADERS, "github", colalign=alignment, disable_numparse=True)


def reasons(lines: Sequence[Line]) -> str:
    """Return a Markdown list with an item for each line that has a reason."""
    return "\n".join(f"- {_reason(line)}" for line in lines if line.reason)


def _reasons_once(lines: Sequence[Line]) -> list[str]:
    """Return a text for each cell that has a reason, but one in all for a reason of many cells."""
    by_reason: dict[str, list[str]] = {}
    for line in lines:
        if line.reason:
            by_reason.setdefault(line.reason, []).append(_reason(line))
    return [
        text
        for texts in by_reason.values()
        for text in (
            [f"{len(texts)} cells, such as {texts[0]}"] if len(texts) > _MOST_NAMED else texts
        )
    ]


def _reason(line: Line) -> str:
    return f"{line.variant} {line.case}: {line.reason}"


def _terminal(lines: Sequence[Line], screen: Screen) -> str:
    """Return the table with the columns that have a text and room; long cases wrap."""
    rows = [(*_line_cells(line)[:6], _memory_and_error(line)) for line in lines]
    columns = [
        GridColumn(
            header,
            [row[place] for row in rows],
            right=_ALIGNMENT[place] == "right" and header != _NOTE_HEADER,
            spare={"n": 2, _NOTE_HEADER: 1}.get(header, 0),
            wraps=header in {"case", "variant"},
        )
        for place, header in enumerate((*_HEADERS[:6], _NOTE_HEADER))
    ]
    return grid(columns, screen.width)


def _memory_and_error(line: Line) -> str:
    *_, memory, error = _line_cells(line)
    parts = [f"memory {memory}"] if memory else []
    parts += [f"error {error}"] if error else []
    return ", ".join(parts)


def comparison_fields(comparison: Comparison) -> dict[str, Any]:
    """Return all of a comparison for programs: also whether it regressed, and the summary."""
    fields: dict[str, Any] = {
        "regressed": comparison.regressed,
        "judged": comparison.judged,
        "summary": summary(comparison),
    }
    fields |= msgspec.to_builtins(comparison)
    return fields


def summary(comparison: Comparison) -> str:
    """Return in one line how many cells were judged, and how many have which verdict.

    The line counts cells that are heavier or less exact too.
    """
    counts = Counter(line.verdict for line in comparison.lines)
    parts = [f"{counts[verdict]} {verdict}" for verdict in _WORST_FIRST if counts[verdict]]
    heavier = sum(line.heavier for line in comparison.lines)
    less_exact = sum(line.less_exact for line in comparison.lines)
    parts += [f"{heavier} heavier"] if heavier else []
    parts += [f"{less_exact} less exact"] if less_exact else []
    cells = len(comparison.lines)
    return (
        f"{outcome(comparison)}: {comparison.judged} of {cells} cell{'' if cells == 1 else 's'} "
        f"judged: {', '.join(parts) or 'nothing'}"
    )


def outcome(comparison: Comparison) -> str:
    """Return whether anything regressed, or that nothing could be judged, in two words."""
    if comparison.regressed:
        return "REGRESSED"
    return "no regression" if comparison.judged else "NOT JUDGED"


def _line_cells(line: Line) -> tuple[str, ...]:
    interval = "" if line.ratio_ci is None else "{:.3f} to {:.3f}".format(*line.ratio_ci)
    return (
        line.case,
        line.variant,
        line.verdict,
        "" if line.ratio is None else f"{line.ratio:.3f}x",
        interval,
        str(line.replicates or ""),
        _ratio_text(line.memory_ratio, "heavier" if line.heavier else ""),
        _ratio_text(line.error_ratio, "less exact" if line.less_exact else ""),
    )


def _ratio_text(ratio: float | None, alarm: str) -> str:
    if ratio is None or (not alarm and abs(ratio - 1) < 0.005):
        return alarm
    return f"{ratio:.2f}x {alarm}".rstrip()
