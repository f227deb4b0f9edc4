"""How far devices of one model differ, in words: the spread, and the clocks of each outlier."""

from collections.abc import Sequence

from reports.tables.cells import group_by_conditions
from reports.tables.siblings import Sibling, is_slower, siblings
from reports.text.paragraph import paragraph
from suite.records.store import Results


def siblings_text(files: Sequence[Results], width: int) -> str:
    """Return lines for each hardware key that several units measured; else an empty text."""
    paragraphs = []
    for members in group_by_conditions(files):
        units = siblings(members)
        if len(units) > 1:
            lines = [paragraph(line, width, "    ") for line in _lines(units)]
            paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _lines(units: Sequence[Sibling]) -> list[str]:
    key = units[0].files[0].header.hardware.key
    fastest, slowest = units[0], units[-1]
    figures = max(unit.figures for unit in units)
    if not figures:
        return [f"{len(units)} units of {key} share no figure, so they can't be compared"]
    spread = f"{slowest.pace / fastest.pace - 1:.1%}"
    what = f"the middle of {figures} shared cells or limits"
    lines = [f"{len(units)} units of {key} differ by {spread} ({what}):"]
    return lines + [f"- {_line(unit, fastest)}" for unit in units]


def _line(unit: Sibling, fastest: Sibling) -> str:
    """Return a unit's pace; where it is an outlier, also what its clocks and the driver say."""
    names = ", ".join(dict.fromkeys(file.path.name for file in unit.files))
    text = f"{unit.unit or 'an older file'} {unit.pace / fastest.pace:.3f}x ({names})"
    if not is_slower(unit, fastest):
        return text
    return f"{text}: an outlier; {', '.join(_reasons(unit))}"


def _reasons(unit: Sibling) -> list[str]:
    clock = "SM clock unknown"
    if unit.sm_clock_mhz is not None:
        clock = f"SM clock {unit.sm_clock_mhz[0]} to {unit.sm_clock_mhz[1]} MHz"
    lowered = f"lowered by {' and '.join(unit.slowed_by)}" if unit.slowed_by else "not lowered"
    return [clock, lowered, f"{unit.throttled} turns throttled"]
