"""What stands above a table: the conditions of its rows, and what makes them uncertain."""

from collections.abc import Sequence

from reports.tables.cells import Group
from reports.tables.estimates import PASSES_FOR_INTERVAL
from reports.tables.row import Row
from suite.records.record import Canary

CANARY_MOVED = 1.2
"""The ratio of a group's slowest canary to its fastest above which the machine's speed has moved.
In the Xeons' published files it is at most 1.19, in one of the EPYC's 1.32."""

CANARY_LEAPT = 2.0
"""The same ratio above which no figure is to be trusted. It is at most 1.50 in published files, one
of an EPYC, whose ratios are known within 5% in the median all the same, because they are paired."""

NOISY_SHARE = 0.1
"""The half width of a ratio's interval, as a share of the ratio, above which a cell is noisy. In
two published files over half of the cells are: one EPYC's decode, and the costs of `lengths`."""

LOST_SHARE = 0.25
"""The share of cells too noisy to rank above which the others are not to be trusted either."""

DISTURBED_SHARE = 0.5
"""Repeated turns over counted ones above which a run without intervals is not to be trusted. In
published files without intervals it is at most 0.11."""

REMEDY = "stop what else runs (`doctor` names what disturbs)"


def conditions(group: Group) -> str:
    """Return a group's conditions: device, software, threads, code, passes and canary times."""
    header = group.header
    software = ", ".join(f"{name} {v}" for name, v in header.software.items() if v != "absent")
    code = group.codes[0] if len(group.codes) == 1 else f"{len(group.codes)} commits"
    passes = max((row.passes for row in group.rows), default=0)
    unit = f", unit {group.unit}" if group.unit else ""
    canary = f"; {_canary_times(group.canaries)}" if group.canaries else ""
    return (
        f"{header.hardware.name}{unit}; {software}; {header.policy.threads} threads; {code}; "
        f"mean of {passes} pass{'' if passes == 1 else 'es'}{canary}"
    )


def _canary_times(canaries: Sequence[Canary]) -> str:
    """Return the range of the canaries' times."""
    least, most = (f"{pick(c.median_ms for c in canaries):.1f}" for pick in (min, max))
    figures = least if least == most else f"{least} to {most}"
    return f"canary ({canaries[0].what}) {figures} ms"


def caution(group: Group) -> str:
    """Return in one line what makes a group's figures uncertain; an empty text if nothing does."""
    rows = [row for row in group.rows if row.status == "measured"]
    parts = [
        _turns("disturbed by other processes", rows, [row.disturbed for row in rows]),
        _turns("slowed by heat or a power brake", rows, [row.throttled for row in rows]),
        _canary_moves(group.canaries, CANARY_MOVED),
        _unrated_note(group),
        _without_interval(rows),
        _too_noisy(rows),
    ]
    present = [part for part in parts if part]
    return f"Take care: {'; '.join(present)}" if present else ""


def _turns(what: str, rows: Sequence[Row], counts: Sequence[int]) -> str:
    cells = sum(count > 0 for count in counts)
    turns = f"{sum(counts)} turn{'' if sum(counts) == 1 else 's'}"
    return f"{turns} {what}, in {cells} of {len(rows)} cells" if cells else ""


def _canary_moves(canaries: Sequence[Canary], by: float) -> str:
    """Return how far the canary moved, if by more than the ratio `by`."""
    times = [canary.median_ms for canary in canaries]
    if max(times, default=0.0) <= by * min(times, default=0.0):
        return ""
    fastest, slowest = min(times), max(times)
    return f"the canary moved by {slowest / fastest:.2f}x, from {fastest:.1f} to {slowest:.1f} ms"


def _unrated_note(group: Group) -> str:
    """Return in how many passes nobody knew what the device can do in a call's time."""
    passes = f"{group.unrated} of {group.passes} passes"
    what = "the device's rates, against which times are held, are not known"
    return f"{what} in {passes}" if group.unrated else ""


def _without_interval(rows: Sequence[Row]) -> str:
    lacking = sum(row.time_ci_ms is None for row in rows)
    cells = "no cell has" if lacking == len(rows) else f"{lacking} of {len(rows)} cells lack"
    return f"{cells} an interval, which takes {PASSES_FOR_INTERVAL} passes" if lacking else ""


def _too_noisy(rows: Sequence[Row]) -> str:
    noisy = sum(row.contradictory for row in rows)
    return f"{noisy} of {len(rows)} cells too noisy to rank" if noisy else ""


def distrust(group: Group) -> str:
    """Return in one line why a group's figures are too noisy to trust and what would help.

    An empty text if they aren't. Where there are intervals, their widths decide; where there are
    none, the canary and the disturbed turns.
    """
    rows = [row for row in group.rows if row.status == "measured" and row.answers == "alibi"]
    lost = sum(row.contradictory for row in rows)
    widths = [width for row in rows if (width := _half_width(row)) is not None]
    noisy = sum(width > NOISY_SHARE for width in widths)
    leap = CANARY_LEAPT if widths else CANARY_MOVED
    disturbed = sum(row.disturbed for row in group.rows)
    parts = [
        f"{lost} of {len(rows)} cells are too noisy to rank"
        if lost > LOST_SHARE * len(rows)
        else "",
        f"{noisy} of {len(widths)} ratios are known to no more than {NOISY_SHARE:.0%}"
        if 2 * noisy > len(widths)
        else "",
        _canary_moves(group.canaries, leap),
        f"{disturbed} of {disturbed + group.turns} turns disturbed"
        if not widths and disturbed > DISTURBED_SHARE * group.turns
        else "",
    ]
    present = [part for part in parts if part]
    if not present:
        return ""
    again = "run more --passes" if widths else f"run --passes {PASSES_FOR_INTERVAL} for intervals"
    return f"Too noisy to trust: {'; '.join(present)}. {REMEDY.capitalize()}, or {again}."


def _half_width(row: Row) -> float | None:
    """Return half of the interval of a row's ratio, or else of its time, as a share of it."""
    value, interval = row.vs_no_bias, row.vs_no_bias_ci
    if value is None:
        value, interval = row.time_ms, row.time_ci_ms
    return None if not value or interval is None else (interval[1] - interval[0]) / (2 * value)
