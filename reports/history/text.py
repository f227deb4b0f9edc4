"""A history for people and for programs: steps in tables by what made them, and one last line."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from tabulate import tabulate

from reports.history.change_points import FEWEST_RUNS
from reports.history.steps import HistoryStep
from reports.history.timeline import Timeline, TimelinePoint
from reports.text.grid import GridColumn, grid
from reports.text.paragraph import paragraph
from reports.text.screen import IN_A_PIPE, Screen

HistoryFormat = Literal["simple", "github", "json"]

_HEADERS = ("change", "95% interval", "variant", "case", "first commit")
_ALIGNMENT = ("right", "right", "left", "left", "left")
_SECTIONS: dict[str, Callable[[HistoryStep], bool]] = {
    "Slower, and nothing but the code explains it": lambda step: step.is_regression,
    "Faster by the code": lambda step: step.cause == "code" and step.change < 0,
    "Not the code": lambda step: step.cause != "code",
}


def render(timeline: Timeline, layout: HistoryFormat, screen: Screen = IN_A_PIPE) -> str:
    """Return a history in one of the formats; json has every point and every step."""
    if layout == "json":
        fields = {"regressed": timeline.regressed, "summary": summary(timeline)}
        return msgspec.json.format(
            msgspec.json.encode(fields | msgspec.to_builtins(timeline)), indent=2
        ).decode()
    parts = [_title(timeline.points)]
    for title, belongs in _SECTIONS.items():
        steps = [step for step in timeline.steps if belongs(step)]
        table = _table(steps, layout, screen) if steps else ""
        parts += [f"{title}:", table, _notes(steps, layout)] if steps else []
    parts += [_status_changes(timeline.points, layout), _disturbance_note(timeline.points)]
    parts += [_short(timeline), summary(timeline)]
    text = "\n\n".join(part for part in parts if part)
    if layout == "github":
        return text.replace("<", "&lt;")
    return "\n".join(paragraph(line, screen.width, "  ") for line in text.splitlines())


def summary(timeline: Timeline) -> str:
    """Return in one line whether anything regressed, and how many cells and steps there are."""
    steps = timeline.steps
    regressions = sum(step.is_regression for step in steps)
    verdict = (
        f"REGRESSED: {_count(regressions, 'unexplained slower step')}"
        if regressions
        else "no unexplained slower step"
        if timeline.judged
        else "NOT JUDGED"
    )
    return (
        f"{verdict}; {_count(len(steps), 'step')} in {_count(timeline.judged, 'cell')} judged"
        f"{f', {len(timeline.short)} too short' if timeline.short else ''}"
    )


def _title(points: Sequence[TimelinePoint]) -> str:
    """Return for each device its runs, and their days; its units if there are several."""
    lines = []
    for key in dict.fromkeys(point.hardware_key for point in points):
        here = [point for point in points if point.hardware_key == key]
        began = sorted({point.started for point in here})
        codes = len({point.code for point in here})
        units = len({point.unit for point in here} - {""})
        days = " to ".join(dict.fromkeys([began[0][:10], began[-1][:10]]))
        lines.append(
            f"{here[0].device}: {_count(len(began), 'run')} of {_count(codes, 'commit')}"
            f"{f' on {units} units' if units > 1 else ''}, {days}"
        )
    return "\n".join(lines)


def _table(steps: Sequence[HistoryStep], layout: str, screen: Screen) -> str:
    lines = [
        (
            f"{100 * step.change:+.1f}%",
            "{:+.1f} to {:+.1f}%".format(*(100 * end for end in step.change_ci)),
            step.variant,
            step.case,
            short_code(step.first_code),
        )
        for step in steps
    ]
    if layout == "github":
        return tabulate(lines, _HEADERS, layout, colalign=_ALIGNMENT, disable_numparse=True)
    columns = [
        GridColumn(header, texts, side == "right", wraps=header in {"variant", "case"})
        for header, texts, side in zip(_HEADERS, zip(*lines, strict=True), _ALIGNMENT, strict=True)
    ]
    return grid(columns, screen.width)


def _notes(steps: Sequence[HistoryStep], layout: str) -> str:
    """Return a line for each step that has a reason, or may be another commit's."""
    mark = "- " if layout == "github" else ""
    lines = []
    for step in steps:
        others = [short_code(code) for code in step.codes if code != step.first_code]
        parts = [f"{step.cause}: {step.reason}"] if step.reason else []
        parts += [f"or the step of {', '.join(others)}"] if others else []
        if parts:
            lines.append(f"{mark}{step.variant} {step.case}: {'; '.join(parts)}")
    return "\n".join(dict.fromkeys(lines))


def _status_changes(points: Sequence[TimelinePoint], layout: str) -> str:
    """Return a line for each cell whose last run has another status than the run before it."""
    mark = "- " if layout == "github" else ""
    by_cell: dict[tuple[str, str, str], list[TimelinePoint]] = {}
    for point in points:
        by_cell.setdefault((point.hardware_key, point.case, point.variant), []).append(point)
    lines = [
        f"{mark}{last.variant} {last.case}: {last.status} since {short_code(last.code)}"
        f", {before.status} before{f': {last.reason}' if last.reason else ''}"
        for *_, before, last in (series for series in by_cell.values() if len(series) > 1)
        if last.status != before.status
    ]
    return "\n".join(["Another status in the last run:", *lines]) if lines else ""


def _disturbance_note(points: Sequence[TimelinePoint]) -> str:
    timed = [point for point in points if point.time_ms is not None]
    disturbed = sum(point.disturbed for point in timed)
    if not disturbed:
        return ""
    times = _count(len(timed), "time")
    return f"Left out of the search for steps: {disturbed} of {times}, disturbed by other processes"


def _short(timeline: Timeline) -> str:
    if not timeline.short:
        return ""
    runs = Counter(timeline.short.values())
    counts = ", ".join(
        f"{_count(cells, 'cell')} with {number}" for number, cells in sorted(runs.items())
    )
    return f"Too short, for a step takes {FEWEST_RUNS} steady runs in one environment: {counts}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def short_code(code: str) -> str:
    """Return a code's name without the word before it: a commit, or the digest of files."""
    return code.removeprefix("commit ").removeprefix("code ")
