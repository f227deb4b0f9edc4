"""What stands above a table: the conditions of its rows, and what makes them uncertain."""

from collections.abc import Sequence

from reports.tables.cells import Group
from reports.tables.estimates import PASSES_FOR_INTERVAL
from reports.tables.row import Row
from suite.records.record import Canary

FEW_CANARIES = 6

CANARY_MOVED = 1.2
"""The ratio of a group's slowest canary to its fastest above which the machine's speed has moved.
In the Xeons' published files it is at most 1.19, in one of the EPYC's 1.32."""


def conditions(group: Group) -> str:
    """Return a group's conditions: device, software, threads, code, passes and canary times."""
    header = group.header
    software = ", ".join(f"{name} {v}" for name, v in header.software.items() if v != "absent")
    code = group.codes[0] if len(group.codes) == 1 else f"{len(group.codes)} commits"
    passes = max((row.passes for row in group.rows), default=0)
    canary = f"; {_canary_times(group.canaries)}" if group.canaries else ""
    return (
        f"{header.hardware.name}; {software}; {header.policy.threads} threads; {code}; "
        f"mean of {passes} pass{'' if passes == 1 else 'es'}{canary}"
    )


def _canary_times(canaries: Sequence[Canary]) -> str:
    """Return each canary's time, or the range of them where they are too many to read."""
    times = [canary.median_ms for canary in canaries]
    if len(times) <= FEW_CANARIES:
        figures = ", ".join(f"{time_ms:.1f}" for time_ms in times) + " ms"
    else:
        figures = f"{min(times):.1f} to {max(times):.1f} ms in {len(times)} passes"
    return f"canary ({canaries[0].what}) {figures}"


def caution(group: Group) -> str:
    """Return in one line what makes a group's figures uncertain; an empty text if nothing does."""
    rows = [row for row in group.rows if row.status == "measured"]
    parts = [
        _turns("disturbed by other processes", rows, [row.disturbed for row in rows]),
        _turns("slowed by heat or a power brake", rows, [row.throttled for row in rows]),
        _canary_moves(group.canaries),
        _without_interval(rows),
        _too_noisy(rows),
    ]
    present = [part for part in parts if part]
    return f"Take care: {'; '.join(present)}" if present else ""


def _turns(what: str, rows: Sequence[Row], counts: Sequence[int]) -> str:
    cells = sum(count > 0 for count in counts)
    turns = f"{sum(counts)} turn{'' if sum(counts) == 1 else 's'}"
    return f"{turns} {what}, in {cells} of {len(rows)} cells" if cells else ""


def _canary_moves(canaries: Sequence[Canary]) -> str:
    times = [canary.median_ms for canary in canaries]
    if max(times, default=0.0) <= CANARY_MOVED * min(times, default=0.0):
        return ""
    fastest, slowest = min(times), max(times)
    return f"the canary moved by {slowest / fastest:.2f}x, from {fastest:.1f} to {slowest:.1f} ms"


def _without_interval(rows: Sequence[Row]) -> str:
    lacking = sum(row.time_ci_ms is None for row in rows)
    cells = "no cell has" if lacking == len(rows) else f"{lacking} of {len(rows)} cells lack"
    return f"{cells} an interval, which takes {PASSES_FOR_INTERVAL} passes" if lacking else ""


def _too_noisy(rows: Sequence[Row]) -> str:
    noisy = sum(row.contradictory for row in rows)
    return f"{noisy} of {len(rows)} cells too noisy to rank" if noisy else ""
