"""What relates the rows of one case: ratios to the baseline, ranks, ties, and when a start pays."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from reports.tables.estimates import log_ratio, over_passes
from reports.tables.row import Row
from suite.records.record import Limit, Time
from variants.catalog import AUTO, BASELINE

TIE_REACHES = 1.25

Pass = tuple[int, int]
"""The number of a file, and of a pass in it."""

Times = Sequence[tuple[Pass, Time]]
"""A variant's times of one case; a pass has one, or one a heat for the baseline."""


def relate(rows: Sequence[Row], times: Mapping[str, Times]) -> None:
    """Fill in what one case's rows are to each other; `times` are given by variant."""
    measured = [row for row in rows if row.status == "measured"]
    if any(row.variant == BASELINE.name for row in measured):
        for row in measured:
            _hold_against_baseline(row, times)
    contenders = sorted(
        (row for row in measured if row.answers == "alibi" and row.variant != AUTO.name),
        key=lambda row: row.time_ms or 0.0,
    )
    _rank(contenders, times)
    _count_break_even(contenders)


def _hold_against_baseline(row: Row, times: Mapping[str, Times]) -> None:
    logs = _log_ratios_paired(times[row.variant], times[BASELINE.name])
    if logs:
        row.vs_no_bias, row.vs_no_bias_ci = over_passes(list(logs.values()))


def _rank(contenders: Sequence[Row], times: Mapping[str, Times]) -> None:
    for rank, row in enumerate(contenders, start=1):
        row.rank = rank
        logs = log_ratios(row.variant, contenders[0].variant, times)
        interval = over_passes(logs).interval if logs and rank > 1 else None
        row.tied = interval is not None and interval[0] <= 1
        row.too_noisy = row.tied and interval is not None and interval[1] > TIE_REACHES


def log_ratios(own: str, other: str, times: Mapping[str, Times]) -> list[float]:
    """Return log(own / other) of each pass: paired by round, or each with its own baseline."""
    direct = _log_ratios_paired(times[own], times[other])
    if direct or BASELINE.name not in times:
        return list(direct.values())
    mine = _log_ratios_paired(times[own], times[BASELINE.name])
    its = _log_ratios_paired(times[other], times[BASELINE.name])
    return [mine[one] - its[one] for one in mine if one in its]


def _log_ratios_paired(own: Times, base: Times) -> dict[Pass, float]:
    """Return log(own / base) of each pass in which they raced each other."""
    raced = {(place, time.race): time for place, time in base}
    return by_pass(
        (place, log_ratio(time, raced[place, time.race]))
        for place, time in own
        if (place, time.race) in raced
    )


def by_pass(figures: Iterable[tuple[Pass, float | None]]) -> dict[Pass, float]:
    """Return the mean figure of each pass that has any."""
    found: dict[Pass, list[float]] = {}
    for place, figure in figures:
        if figure is not None:
            found.setdefault(place, []).append(figure)
    return {place: statistics.fmean(own) for place, own in found.items()}


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


def hold_against_limits(rows: Sequence[Row], limits: Sequence[Limit]) -> None:
    """Fill in the useful FLOPs and bytes a second as shares of what the device does at most."""
    for row in rows:
        own = [limit for limit in limits if limit.dtype == row.dtype]
        if own and row.tflops is not None:
            row.gemm_share = row.tflops * 1e12 / statistics.median(one.flops_per_s for one in own)
        if own and row.time_ms is not None:
            bytes_per_s = row.useful_bytes / row.time_ms * 1000
            row.copy_share = bytes_per_s / statistics.median(one.bytes_per_s for one in own)
