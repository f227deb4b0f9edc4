"""What relates the rows of one case: ratios to the baseline, ranks, ties, and when a start pays."""

import math
from collections.abc import Mapping, Sequence

from reports.estimates import log_ratio, over_passes
from reports.row import Row
from suite.record import Time
from variants.catalog import BASELINE

TIE_REACHES = 1.25

Times = Mapping[tuple[int, int], Time]
"""A variant's times of one case by (file, pass)."""


def relate(rows: Sequence[Row], times: Mapping[str, Times]) -> None:
    """Fill in what one case's rows are to each other; `times` are given by variant."""
    measured = [row for row in rows if row.status == "measured"]
    if any(row.variant == BASELINE.name for row in measured):
        for row in measured:
            _hold_against_baseline(row, times)
    contenders = sorted(
        (row for row in measured if row.answers == "alibi"), key=lambda row: row.time_ms or 0.0
    )
    _rank(contenders, times)
    _count_break_even(contenders)


def _hold_against_baseline(row: Row, times: Mapping[str, Times]) -> None:
    logs = _shared_log_ratios(times[row.variant], times[BASELINE.name])
    if logs:
        row.vs_no_bias, row.vs_no_bias_ci = over_passes(logs)


def _rank(contenders: Sequence[Row], times: Mapping[str, Times]) -> None:
    for rank, row in enumerate(contenders, start=1):
        row.rank = rank
        logs = _shared_log_ratios(times[row.variant], times[contenders[0].variant])
        interval = over_passes(logs).interval if logs and rank > 1 else None
        row.tied = interval is not None and interval[0] <= 1
        row.too_noisy = row.tied and interval is not None and interval[1] > TIE_REACHES


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


def _shared_log_ratios(own: Times, base: Times) -> list[float]:
    ratios = [log_ratio(time, base[key]) for key, time in own.items() if key in base]
    return [ratio for ratio in ratios if ratio is not None]
