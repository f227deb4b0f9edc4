"""A comparison for people and for programs: a table, reasons, and one line of summary."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from tabulate import tabulate

from reports.verdicts.comparison import Comparison, Line, Verdict

VerdictFormat = Literal["simple", "github", "json"]

_HEADERS = ("case", "variant", "verdict", "head / base", "95% interval", "n", "memory", "error")
_ALIGNMENT = ("left", "left", "left", "right", "right", "right", "right", "right")
_WORST_FIRST: tuple[Verdict, ...] = ("wrong", "missing", "slower", "faster", "inconclusive", "same")


def render(comparison: Comparison, layout: VerdictFormat) -> str:
    """Return a comparison in one of the formats; regressions and bad verdicts come first."""
    if layout == "json":
        return msgspec.json.format(
            msgspec.json.encode(comparison_fields(comparison)), indent=2
        ).decode()
    lines = worst_first(comparison.lines)
    title = f"{comparison.head} against {comparison.base}"
    parts = [title, table(lines, layout), "\n".join(comparison.notes)]
    parts += [reasons(lines, layout), summary(comparison)]
    return "\n\n".join(part for part in parts if part)


def worst_first(lines: Sequence[Line]) -> list[Line]:
    """Return lines in the order to read them: regressions, then other changes, then the rest."""
    return sorted(lines, key=lambda line: (not line.regressed, _WORST_FIRST.index(line.verdict)))


def table(lines: Sequence[Line], layout: str) -> str:
    """Return a table of lines in their order."""
    return tabulate(
        [_line_cells(line) for line in lines],
        _HEADERS,
        layout,
        colalign=_ALIGNMENT if lines else None,
        disable_numparse=True,
    )


def reasons(lines: Sequence[Line], layout: str) -> str:
    """Return a line of text for each line that has a reason; in github an item of a list."""
    mark = "- " if layout == "github" else ""
    return "\n".join(
        f"{mark}{line.variant} {line.case}: {line.reason}" for line in lines if line.reason
    )


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
