"""A comparison as the comment of a pull request: the verdict, what changed, and the rest folded."""

from reports.pull_request.power import Power
from reports.verdicts.comparison import Comparison, Line
from reports.verdicts.verdict_table import outcome, reasons, summary, table, worst_first


def comment(comparison: Comparison, power: Power | None) -> str:
    """Return GitHub's markdown; without `power` it does not say what would have been found."""
    lines = worst_first(comparison.lines)
    changed = [line for line in lines if _is_change(line)]
    rest = [line for line in lines if not _is_change(line)]
    parts = [
        f"**{outcome(comparison)}{_could_find(power)}**",
        _escape(f"{comparison.head} against {comparison.base}. {summary(comparison)}."),
        _escape("\n".join(comparison.notes)),
        *([table(changed), _escape(reasons(changed))] if changed else []),
        _fold(rest, others=bool(changed)),
    ]
    return "\n\n".join(part for part in parts if part)


def _is_change(line: Line) -> bool:
    return line.regressed or line.verdict == "faster"


def _could_find(power: Power | None) -> str:
    if power is None:
        return ""
    return f"; +{power.effect:.0%} would be found in {power.rate.share:.0%}"


def _fold(lines: list[Line], others: bool) -> str:
    """Return cells that did not change, behind a line to open."""
    if not lines:
        return ""
    which = "other " if others else ""
    title = f"{len(lines)} {which}cell{'' if len(lines) == 1 else 's'}, of which none changed"
    inside = [table(lines), _escape(reasons(lines))]
    body = "\n\n".join(part for part in inside if part)
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _escape(text: str) -> str:
    return text.replace("<", "&lt;")
