"""What stands above a table: the conditions of its rows."""

from collections.abc import Sequence

from reports.tables.cells import Group
from suite.records.record import Canary

FEW_CANARIES = 6


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
