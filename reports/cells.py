"""From records to rows: one row a cell, every cell of the plan, whatever became of it."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from reports.estimates import log_median_ms, log_ratio, over_passes
from suite.case import Case
from suite.record import Agreement, Canary, CellRecord, Fault, Machine, Memory, Status, Time
from suite.store import Results
from variants.catalog import BASELINE, CATALOG

_ANSWERS = {variant.name: variant.answers for variant in CATALOG}

Passes = dict[tuple[int, int], list[CellRecord]]
"""A cell's records by (file, pass); a planned cell that nothing befell has none."""


class Row(msgspec.Struct, kw_only=True):
    """One cell. A figure that doesn't exist is None.

    `rank` counts the agreeing ALiBi variants of a case from the fastest; `tied` means that the
    interval of the paired ratio to the fastest includes 1. `first_call_s` is the first call with
    an empty compile cache, `warm_first_call_s` the first of a later process with a filled one.
    After `break_even_calls` calls the variant has cost less in all than the one that starts
    fastest; None where it never does.
    """

    hardware_key: str
    software: str
    case: str
    batch: int
    heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    head_dim: int
    dtype: str
    mode: str
    causal: bool
    layout: str
    logit_scale: float
    bias_max: float
    slope_scale: str
    scale: str
    variant: str
    answers: str
    status: Status
    reason: str | None = None
    time_ms: float | None = None
    time_ci_ms: tuple[float, float] | None = None
    samples: int = 0
    passes: int = 0
    vs_no_bias: float | None = None
    vs_no_bias_ci: tuple[float, float] | None = None
    rank: int | None = None
    tied: bool = False
    tflops: float | None = None
    prepare_s: float | None = None
    first_call_s: float | None = None
    warm_first_call_s: float | None = None
    break_even_calls: int | None = None
    peak_bytes: int | None = None
    persistent_bytes: int | None = None
    resident_bytes: int | None = None
    nvml_bytes: int | None = None
    error: float | None = None
    error_budget: float | None = None
    kernels: tuple[str, ...] = ()


class Group(NamedTuple):
    """What may be compared: one hardware key, software and policy; rows in the order of plans."""

    machine: Machine
    canaries_ms: list[float]
    rows: list[Row]


def groups(files: Sequence[Results]) -> list[Group]:
    """Fold results files into groups of comparable rows."""
    alike: dict[bytes, list[Results]] = {}
    for file in files:
        machine = file.machine
        key = msgspec.json.encode(
            (machine.hardware.key, sorted(machine.software.items()), machine.policy)
        )
        alike.setdefault(key, []).append(file)
    return [_group(own) for own in alike.values()]


def _group(files: Sequence[Results]) -> Group:
    machine = files[0].machine
    rows: list[Row] = []
    for case, variants in _cells(files).items():
        own = [_row(machine, case, name, passes) for name, passes in variants.items()]
        rows += _ranked(own, variants)
    canaries = [
        record.median_ms for file in files for record in file.records if isinstance(record, Canary)
    ]
    return Group(machine, canaries, rows)


def _cells(files: Sequence[Results]) -> dict[Case, dict[str, Passes]]:
    cells: dict[Case, dict[str, Passes]] = {}
    for number, file in enumerate(files):
        plan = file.machine.plan
        for case in plan.cases:
            by_variant = cells.setdefault(case, {})
            for name in plan.variants:
                by_variant.setdefault(name, {})
        for record in file.records:
            if isinstance(record, CellRecord):
                by_variant = cells.setdefault(record.case, {})
                passes = by_variant.setdefault(record.variant, {})
                passes.setdefault((number, record.pass_number), []).append(record)
    return cells


def _row(machine: Machine, case: Case, variant: str, passes: Passes) -> Row:
    row = Row(
        hardware_key=machine.hardware.key,
        software=" ".join(f"{name}={v}" for name, v in sorted(machine.software.items())),
        case=case.id,
        batch=case.batch,
        heads=case.heads,
        kv_heads=case.kv_heads,
        q_len=case.q_len,
        kv_len=case.kv_len,
        head_dim=case.head_dim,
        dtype=case.dtype,
        mode=case.mode,
        causal=case.causal,
        layout=case.layout,
        logit_scale=case.logit_scale,
        bias_max=case.bias_max,
        slope_scale=case.slope_scale,
        scale=case.scale,
        variant=variant,
        answers=_ANSWERS.get(variant, "alibi"),
        status="measured",
    )
    records = [record for own in passes.values() for record in own]
    checks = [record for record in records if isinstance(record, Agreement)]
    if checks:
        worst = max(checks, key=_excess)
        row.error, row.error_budget = worst.error, worst.budget
    times = list(_times(passes).values())
    weighed = [record for record in records if isinstance(record, Memory)]
    if weighed:
        row.peak_bytes = max(one.peak_bytes for one in weighed)
        row.persistent_bytes = max(one.persistent_bytes for one in weighed)
        row.resident_bytes = weighed[0].resident_bytes
        row.nvml_bytes = weighed[0].nvml_bytes
    ended_badly = _ending(records, times)
    if ended_badly is not None:
        row.status, row.reason = ended_badly
        return row
    estimate = over_passes([log_median_ms(time) for time in times])
    row.time_ms, row.time_ci_ms = estimate
    row.passes, row.samples = len(times), sum(time.taken for time in times)
    row.tflops = case.useful_flops / (estimate.value * 1e9)
    row.prepare_s = min(time.prepare_s for time in times)
    row.first_call_s = next((time.first_call_s for time in times if time.cold), None)
    warm = [time.first_call_s for time in times if not time.cold]
    row.warm_first_call_s = statistics.median(warm) if warm else None
    row.kernels = times[0].kernels
    return row


def _ending(records: Sequence[CellRecord], times: Sequence[Time]) -> tuple[Status, str] | None:
    """Return the status and reason of a cell that has no trustworthy time, else None."""
    for record in records:
        if isinstance(record, Fault):
            return record.status, record.reason
    for record in records:
        if isinstance(record, Agreement) and not record.agrees:
            late = " on fresh inputs, after timing" if record.stage == "after" else ""
            return "disagrees", f"{record.where}: {_finding(record)}{late}"
    return None if times else ("skipped", "not measured yet: run --resume completes the file")


def _finding(check: Agreement) -> str:
    if check.error is None:
        return "no finite error"
    times = f"{_excess(check):.3g} times its budget of {check.budget:.1e}"
    return f"error {check.error:.1e}, {times}"


def _excess(check: Agreement) -> float:
    if check.error is None:
        return math.inf
    return check.error / max(check.budget, 1e-300)


def _times(passes: Passes) -> dict[tuple[int, int], Time]:
    return {
        key: record for key, own in passes.items() for record in own if isinstance(record, Time)
    }


def _ranked(rows: list[Row], variants: Mapping[str, Passes]) -> list[Row]:
    """Fill in what relates the rows of one case: the ratio to the baseline, ranks and ties."""
    measured = [row for row in rows if row.status == "measured"]
    times = {row.variant: _times(variants[row.variant]) for row in measured}
    for row in measured:
        if BASELINE.name in times:
            logs = _shared_log_ratios(times[row.variant], times[BASELINE.name])
            if logs:
                row.vs_no_bias, row.vs_no_bias_ci = over_passes(logs)
    contenders = sorted(
        (row for row in measured if row.answers == "alibi"), key=lambda row: row.time_ms or 0.0
    )
    for rank, row in enumerate(contenders, start=1):
        row.rank = rank
        logs = _shared_log_ratios(times[row.variant], times[contenders[0].variant])
        interval = over_passes(logs).interval if logs and rank > 1 else None
        row.tied = interval is not None and interval[0] <= 1
    _count_break_even(contenders)
    return rows


def _count_break_even(contenders: Sequence[Row]) -> None:
    starts = {
        row.variant: row.prepare_s + row.first_call_s
        for row in contenders
        if row.prepare_s is not None and row.first_call_s is not None
    }
    started = [row for row in contenders if row.variant in starts]
    if not started:
        return
    soonest = min(started, key=lambda row: starts[row.variant])
    for row in started:
        gain_s = ((soonest.time_ms or 0.0) - (row.time_ms or 0.0)) / 1000
        later_s = starts[row.variant] - starts[soonest.variant]
        if row is soonest:
            row.break_even_calls = 0
        elif gain_s > 0:
            row.break_even_calls = math.ceil(later_s / gain_s)


def _shared_log_ratios(
    own: Mapping[tuple[int, int], Time], base: Mapping[tuple[int, int], Time]
) -> list[float]:
    ratios = [log_ratio(time, base[key]) for key, time in own.items() if key in base]
    return [ratio for ratio in ratios if ratio is not None]
