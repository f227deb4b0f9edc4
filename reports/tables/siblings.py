"""Equal devices that are not equally fast: how far the units of one hardware key differ.

Chips of one model differ by several percent, and so do the machines around them. Units are compared
by the cells that they share. Where a sweep was split between nodes these don't link all units, and
the limits of the device are compared in their place. Cells whose cost is the host's time say
nothing of a GPU, and are left out.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from reports.tables.estimates import log_median_ms
from suite.race.host_bound import HOST_SERIES
from suite.records.record import Canary, Limit, Time
from suite.records.store import Results

LEAST_GAP = 1.03
"""Units that differ by less count as one device: the order of races alone can make as much."""

_Figure = tuple[str, object, object]


class Sibling(NamedTuple):
    """A unit of a hardware key, beside the others of the same key.

    `pace` is its time as a multiple of that of the middle unit, 1.05 is 5% slower. It is the median
    over `figures` shared cells, or limits of the device. `canary_ms` has the canary's least and
    largest time, `sm_clock_mhz` the lowest and highest SM clock, `slowed_by` what the driver says
    lowered it, and `throttled` how many turns heat or a power brake slowed.
    """

    unit: str
    files: tuple[Results, ...]
    pace: float
    figures: int
    canary_ms: tuple[float, float] | None
    sm_clock_mhz: tuple[int, int] | None
    slowed_by: tuple[str, ...]
    throttled: int


def siblings(files: Sequence[Results]) -> list[Sibling]:
    """Return the units that measured comparable files, the fastest first.

    Files from before units were recorded count as one unit, of no name.
    """
    by_unit: dict[str, list[Results]] = {}
    for file in files:
        by_unit.setdefault(file.header.circumstances.unit, []).append(file)
    times = {unit: dict(_cells(members)) for unit, members in by_unit.items()}
    if not _link_all(times.values()):
        limits = {unit: dict(_limits(members)) for unit, members in by_unit.items()}
        times = limits if _shared_figures(limits.values()) else times
    shared = _shared_figures(times.values())
    middles = {
        figure: statistics.median(each[figure] for each in times.values() if figure in each)
        for figure in shared
    }
    units = [
        _sibling(
            unit,
            by_unit[unit],
            [each[figure] - middles[figure] for figure in shared if figure in each],
        )
        for unit, each in times.items()
    ]
    return sorted(units, key=lambda sibling: sibling.pace)


def group_by_speed(files: Sequence[Results]) -> list[list[Results]]:
    """Return comparable files in groups of units that are equally fast.

    Two units are told apart if they differ by over 3%, and by more than their canaries do: a canary
    that moves by as much explains the difference by the state of the machine.
    """
    if len({file.header.circumstances.unit for file in files}) < 2:
        return [list(files)]
    groups: list[list[Sibling]] = []
    for sibling in siblings(files):
        if groups and not is_slower(sibling, groups[-1][0]):
            groups[-1].append(sibling)
        else:
            groups.append([sibling])
    return [[file for sibling in group for file in sibling.files] for group in groups]


def is_slower(slow: Sibling, fast: Sibling) -> bool:
    """Whether a unit is slower than another by more than 3% and than the canaries explain."""
    explained = 1.0
    if slow.canary_ms is not None and fast.canary_ms is not None:
        explained = slow.canary_ms[1] / fast.canary_ms[0]
    return slow.pace / fast.pace > max(LEAST_GAP, explained)


def _sibling(unit: str, files: Sequence[Results], logs: Sequence[float]) -> Sibling:
    records = [record for file in files for record in file.records]
    times = [record for record in records if isinstance(record, Time)]
    clocks = [clock for time in times for clock in time.sm_clock_mhz or ()]
    canaries = [record.median_ms for record in records if isinstance(record, Canary)]
    return Sibling(
        unit=unit,
        files=tuple(files),
        pace=math.exp(statistics.median(logs)) if logs else 1.0,
        figures=len(logs),
        canary_ms=(min(canaries), max(canaries)) if canaries else None,
        sm_clock_mhz=(min(clocks), max(clocks)) if clocks else None,
        slowed_by=tuple(sorted({reason for time in times for reason in time.slowed_by})),
        throttled=sum(time.throttled for time in times),
    )


def _cells(files: Sequence[Results]) -> Iterator[tuple[_Figure, float]]:
    """Yield the log of each cell's time, the mean over its races, where it is the device's time."""
    logs: dict[_Figure, list[float]] = {}
    for file in files:
        for record in file.records:
            if isinstance(record, Time) and record.cost not in HOST_SERIES:
                cell = "cell", record.case, record.variant
                logs.setdefault(cell, []).append(log_median_ms(record))
    for figure, each in logs.items():
        yield figure, statistics.fmean(each)


def _limits(files: Sequence[Results]) -> Iterator[tuple[_Figure, float]]:
    """Yield the log of the time that the device's limits allow, for products and for copies."""
    logs: dict[_Figure, list[float]] = {}
    for file in files:
        for record in file.records:
            if isinstance(record, Limit):
                for what, rate in (("gemm", record.flops_per_s), ("copy", record.bytes_per_s)):
                    logs.setdefault(("limit", record.dtype, what), []).append(-math.log(rate))
    for figure, each in logs.items():
        yield figure, statistics.fmean(each)


def _shared_figures(units: Iterable[dict[_Figure, float]]) -> list[_Figure]:
    """Return the figures that two units or more have."""
    counts: dict[_Figure, int] = {}
    for unit in units:
        for figure in unit:
            counts[figure] = counts.get(figure, 0) + 1
    return [figure for figure, count in counts.items() if count > 1]


def _link_all(units: Iterable[dict[_Figure, float]]) -> bool:
    """Whether figures that units share lead from each unit that has some to every other."""
    waiting = [set(unit) for unit in units if unit]
    if len(waiting) < 2:
        return False
    linked = waiting.pop()
    while near := [unit for unit in waiting if unit & linked]:
        waiting = [unit for unit in waiting if not unit & linked]
        linked = linked.union(*near)
    return not waiting
