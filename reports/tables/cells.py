"""Turns records into rows: one row for each cell of a plan, also for a cell that failed."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from reports.tables.estimates import log_median_ms, mean_over_passes, series_ms
from reports.tables.rank import Times, by_pass, fill_in_limit_shares, relate
from reports.tables.row import NO_CHECK, NOT_YET, Row
from reports.tables.siblings import group_by_speed
from suite.cases.case import Case
from suite.records.record import (
    Agreement,
    Canary,
    CellRecord,
    CheckStage,
    Fault,
    Limit,
    Memory,
    RunHeader,
    Status,
    Time,
)
from suite.records.store import Results
from variants.catalog import RACED

_ANSWERS = {variant.name: variant.answers for variant in RACED}

_STAGES: dict[CheckStage, str] = {
    "before": "",
    "after": " on fresh inputs, after timing",
    "small": " in the small case that every variant is checked in",
}

Passes = dict[tuple[int, int], list[CellRecord]]
"""A cell's records by (number of the file, pass). A planned cell without a record has no entry."""


class Group(NamedTuple):
    """Comparable rows, in the order of the plans: same hardware key, software and policy.

    `codes` names the code that measured them, several only where each cell is of its newest code.
    `turns` counts the turns whose samples count, of all races; disturbed ones are not among them.
    `passes` counts the passes that began, in all files, and `unrated` those of them that lack the
    device's rates, which times are held against.
    `unit` marks the device, or devices, where others of the same hardware key are faster or slower.
    """

    header: RunHeader
    codes: list[str]
    canaries: list[Canary]
    rows: list[Row]
    turns: int
    passes: int
    unrated: int
    unit: str = ""


def groups(files: Sequence[Results]) -> list[Group]:
    """Fold results files into groups of comparable rows that the same code measured.

    Units of one hardware key that are not equally fast have groups of their own.
    """
    folded: list[Group] = []
    for members in group_by_conditions(files):
        units = group_by_speed(members)
        if len(units) == 1:
            folded.append(fold(units[0]))
            continue
        folded += [
            _without_cells_of_siblings(fold(unit, is_apart=True), unit, members) for unit in units
        ]
    return folded


def _without_cells_of_siblings(
    group: Group, unit: Sequence[Results], members: Sequence[Results]
) -> Group:
    """Return a unit's group without the cells of its files that another unit has completed."""
    completed = {
        (part.path, record.case.id, record.variant)
        for part in members
        for record in part.records
        if isinstance(record, CellRecord)
    }
    rows = [
        row
        for row in group.rows
        if row.reason != NOT_YET
        or not any((part.path, row.case, row.variant) in completed for part in unit)
    ]
    return group._replace(rows=rows)


def group_by_conditions(files: Sequence[Results]) -> list[list[Results]]:
    """Return the files' parts in groups of equal hardware key, software, policy and code.

    Each part is of one code and one unit."""
    by_key: dict[tuple[bytes, str], list[Results]] = {}
    parts = [part for file in files for by_code in file.by_code() for part in by_code.by_unit()]
    for part in parts:
        key = measuring_conditions(part.header), part.header.circumstances.code
        by_key.setdefault(key, []).append(part)
    return list(by_key.values())


def measuring_conditions(header: RunHeader) -> bytes:
    """Return what is equal for comparable runs: hardware key, software and policy."""
    return msgspec.json.encode(
        (header.hardware.key, sorted(header.software.items()), header.policy)
    )


def fold(files: Sequence[Results], *, is_apart: bool = False) -> Group:
    """Fold comparable files into one group; `is_apart` if other units of the key are not in it."""
    header = files[0].header
    rows: list[Row] = []
    for case, variants in cells_of(files).items():
        case_rows = [_row(files, case, name, passes) for name, passes in variants.items()]
        relate(case_rows, {name: times_of(passes) for name, passes in variants.items()})
        rows += case_rows
    records = [record for file in files for record in file.records]
    fill_in_limit_shares(rows, [record for record in records if isinstance(record, Limit)])
    canaries = [record for record in records if isinstance(record, Canary)]
    turns = sum(len(record.turns) for record in records if isinstance(record, Time))
    begun = [_passes_with(Canary, file) for file in files]
    rated = [_passes_with(Limit, file) for file in files]
    return Group(
        header=header,
        codes=_codes(files),
        canaries=canaries,
        rows=rows,
        turns=turns,
        passes=sum(map(len, begun)),
        unrated=sum(len(each - own) for each, own in zip(begun, rated, strict=True)),
        unit=_units(files) if is_apart else "",
    )


def _passes_with(kind: type[Canary | Limit], file: Results) -> set[int]:
    return {record.pass_number for record in file.records if isinstance(record, kind)}


def _codes(files: Sequence[Results]) -> list[str]:
    return list(dict.fromkeys(file.header.circumstances.code for file in files))


def _units(files: Sequence[Results]) -> str:
    return ", ".join(dict.fromkeys(file.header.circumstances.unit for file in files))


def cells_of(files: Sequence[Results]) -> dict[Case, dict[str, Passes]]:
    """Return each cell's records by case and variant, without the base side of pairs.

    A cell is there if a plan has it or a file has a record of it.
    """
    cells: dict[Case, dict[str, Passes]] = {}
    for number, file in enumerate(files):
        plan = file.header.plan
        for case in plan.cases:
            by_variant = cells.setdefault(case, {})
            for name in plan.variants:
                by_variant.setdefault(name, {})
        for record in file.records:
            if isinstance(record, CellRecord) and getattr(record, "side", "head") == "head":
                by_variant = cells.setdefault(record.case, {})
                passes = by_variant.setdefault(record.variant, {})
                passes.setdefault((number, record.pass_number), []).append(record)
    return cells


def _row(files: Sequence[Results], case: Case, variant: str, passes: Passes) -> Row:
    header = files[0].header
    row = Row(
        hardware_key=header.hardware.key,
        software=" ".join(f"{name}={v}" for name, v in sorted(header.software.items())),
        code=", ".join(_codes([files[number] for number, _ in passes] or files)),
        unit=_units([files[number] for number, _ in passes]),
        case=case.id,
        useful_bytes=case.useful_bytes,
        variant=variant,
        answers=_ANSWERS.get(variant, "alibi"),
        status="measured",
        **msgspec.structs.asdict(case),
    )
    records = [record for pass_records in passes.values() for record in pass_records]
    times = times_of(passes)
    _fill_in_checks(row, [record for record in records if isinstance(record, Agreement)])
    _fill_in_memory(row, [record for record in records if isinstance(record, Memory)])
    failure = _failure(records, times)
    if failure is not None:
        row.status, row.reason = failure
    if times and row.status in {"measured", "implausible"}:
        _fill_in_times(row, case, times)
    return row


def _fill_in_checks(row: Row, checks: Sequence[Agreement]) -> None:
    if checks:
        worst = max(checks, key=lambda check: check.excess)
        row.error, row.error_budget = worst.error, worst.budget


def _fill_in_memory(row: Row, memories: Sequence[Memory]) -> None:
    if memories:
        row.peak_bytes = max(memory.peak_bytes for memory in memories)
        row.persistent_bytes = max(memory.persistent_bytes for memory in memories)
        row.resident_bytes = memories[0].resident_bytes
        row.nvml_bytes = memories[0].nvml_bytes


def _fill_in_times(row: Row, case: Case, times_by_pass: Times) -> None:
    times = [time for _, time in times_by_pass]
    medians = by_pass((place, log_median_ms(time)) for place, time in times_by_pass)
    estimate = mean_over_passes(list(medians.values()))
    row.time_ms, row.time_ci_ms = estimate
    row.pass_ms = tuple(math.exp(median) for median in medians.values())
    row.passes, row.samples = len(medians), sum(time.taken for time in times)
    row.tflops = case.useful_flops / (estimate.value * 1e9)
    row.prepare_s = min(time.prepare_s for time in times)
    row.first_call_s = next((time.first_call_s for time in times if time.cold), None)
    warm = [time.first_call_s for time in times if not time.cold]
    row.warm_first_call_s = statistics.median(warm) if warm else None
    row.steps = sum(time.steps for time in times)
    row.recompilations = sum(time.recompilations for time in times)
    row.kernels = next((time.kernels for time in times if time.kernels), ())
    row.chose = next((time.chose for time in times if time.chose), None)
    row.thread_pools = next((time.thread_pools for time in times if time.thread_pools), ())
    row.density = next((time.density for time in times if time.density is not None), None)
    fill_in_series(row, times)


def _failure(records: Sequence[CellRecord], times: Times) -> tuple[Status, str] | None:
    """Return a cell's status and reason if it has no valid time, else None."""
    for record in records:
        if isinstance(record, Fault):
            return record.status, record.reason
    for record in records:
        if isinstance(record, Agreement) and not record.agrees:
            return "disagrees", f"{record.where}: {record.finding}{_STAGES[record.stage]}"
    if times and not any(isinstance(record, Agreement) for record in records):
        return "skipped", NO_CHECK
    return None if times else ("skipped", NOT_YET)


def times_of(passes: Passes) -> Times:
    """Return a cell's times, each with the number of its file and its pass."""
    return [
        (place, record)
        for place, records in passes.items()
        for record in records
        if isinstance(record, Time)
    ]


def fill_in_series(row: Row, times: Sequence[Time]) -> None:
    """Fill in every series in ms, the series that is the cost, bad turns and SM clocks in MHz."""
    row.cost = times[0].cost
    row.device_ms = series_ms(times, "device")
    row.device_hot_ms = series_ms(times, "device_hot")
    row.issue_ms = series_ms(times, "issue")
    row.wall_ms = series_ms(times, "wall")
    row.graph_ms = series_ms(times, "graph")
    row.throttled = sum(time.throttled for time in times)
    row.disturbed = sum(time.disturbed for time in times)
    clocks = [clock for time in times for clock in time.sm_clock_mhz or ()]
    row.sm_clock_mhz = (min(clocks), max(clocks)) if clocks else None
