"""Compares the rows of one case: ratios to the baseline, ranks, ties and break-even calls."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from reports.tables.estimates import log_median_ms, log_ratio, mean_over_passes
from reports.tables.row import Row
from suite.records.record import Limit, Time
from variants.catalog import AUTO, BASELINE

TIE_REACHES = 1.25
"""A tie whose interval reaches above this ratio to the fastest is called too noisy."""

CONTRADICTION = 1.25
"""A row is too noisy to rank if its time over the baseline's, each a median over all rounds, and
the median of their ratios round by round differ by more than this factor. The rounds then had so
little in common that neither figure stands for the variant."""

Pass = tuple[int, int]
"""(number of a file, number of a pass in that file)"""

Times = Sequence[tuple[Pass, Time]]
"""A variant's times for one case: one a pass; for the baseline one for each race of a pass."""


def relate(rows: Sequence[Row], times: Mapping[str, Times]) -> None:
    """Fill in one case's ratios, ranks, ties and break-even calls; `times` are by variant."""
    measured = [row for row in rows if row.status == "measured"]
    baseline = next((row for row in measured if row.variant == BASELINE.name), None)
    if baseline is not None:
        for row in measured:
            _fill_in_baseline_ratio(row, times)
    contenders = [
        row
        for row in measured
        if row.answers == "alibi" and row.variant != AUTO.name and not row.contradictory
    ]
    baseline_ms = None if baseline is None else baseline.time_ms
    contenders.sort(key=lambda row: paired_ms(row, baseline_ms) or 0.0)
    _rank(contenders, times)
    _count_break_even(contenders)


def paired_ms(row: Row, baseline_ms: float | None) -> float | None:
    """Return the time by which a row is ranked: the baseline's times the ratio paired by rounds.

    Without a baseline or a ratio it is the row's own time.
    """
    if baseline_ms is None or row.vs_no_bias is None:
        return row.time_ms
    return baseline_ms * row.vs_no_bias


def _fill_in_baseline_ratio(row: Row, times: Mapping[str, Times]) -> None:
    """Fill in the ratio to the baseline, and whether medians of the same races contradict it."""
    own, base = times[row.variant], times[BASELINE.name]
    ratios = _log_ratios_paired(own, base)
    if ratios:
        row.vs_no_bias, row.vs_no_bias_ci = mean_over_passes(list(ratios.values()))
        medians = _by_shared_race(own, base, lambda a, b: log_median_ms(a) - log_median_ms(b))
        apart = statistics.fmean(medians[place] - ratio for place, ratio in ratios.items())
        row.contradictory = abs(apart) > math.log(CONTRADICTION)


def _rank(contenders: Sequence[Row], times: Mapping[str, Times]) -> None:
    for rank, row in enumerate(contenders, start=1):
        row.rank = rank
        logs = log_ratios(row.variant, contenders[0].variant, times)
        interval = mean_over_passes(logs).interval if logs and rank > 1 else None
        row.tied = interval is not None and interval[0] <= 1
        row.too_noisy = row.tied and interval is not None and interval[1] > TIE_REACHES


def log_ratios(variant: str, other: str, times: Mapping[str, Times]) -> list[float]:
    """Return log(variant / other), one a pass.

    Rounds of a shared race are paired. Where the two never raced each other, both are divided by
    the baseline of their race.
    """
    direct = _log_ratios_paired(times[variant], times[other])
    if direct or BASELINE.name not in times:
        return list(direct.values())
    first = _log_ratios_paired(times[variant], times[BASELINE.name])
    second = _log_ratios_paired(times[other], times[BASELINE.name])
    return [first[place] - second[place] for place in first if place in second]


def _log_ratios_paired(times: Times, base: Times) -> dict[Pass, float]:
    """Return log(times / base) of each pass in which the two raced each other, round by round."""
    return _by_shared_race(times, base, log_ratio)


def _by_shared_race(
    times: Times, base: Times, figure: Callable[[Time, Time], float | None]
) -> dict[Pass, float]:
    """Return the mean figure of each pass over the races that the two share."""
    base_times = {(place, time.race): time for place, time in base}
    return by_pass(
        (place, figure(time, base_times[place, time.race]))
        for place, time in times
        if (place, time.race) in base_times
    )


def by_pass(figures: Iterable[tuple[Pass, float | None]]) -> dict[Pass, float]:
    """Return the mean figure of each pass; a pass without a figure is left out."""
    figures_by_pass: dict[Pass, list[float]] = {}
    for place, figure in figures:
        if figure is not None:
            figures_by_pass.setdefault(place, []).append(figure)
    return {place: statistics.fmean(values) for place, values in figures_by_pass.items()}


def _count_break_even(contenders: Sequence[Row]) -> None:
    starts = {
        row.variant: row.prepare_s + row.first_call_s
        for row in contenders
        if row.prepare_s is not None and row.first_call_s is not None
    }
    timed = [row for row in contenders if row.variant in starts]
    if not timed:
        return
    soonest = min(timed, key=lambda row: starts[row.variant])
    for row in timed:
        gain_s = ((soonest.time_ms or 0.0) - (row.time_ms or 0.0)) / 1000
        later_s = starts[row.variant] - starts[soonest.variant]
        if row is soonest:
            row.break_even_calls = 0
        elif gain_s > 0:
            row.break_even_calls = math.ceil(later_s / gain_s)


def fill_in_limit_shares(rows: Sequence[Row], limits: Sequence[Limit]) -> None:
    """Fill in useful FLOPs and bytes a second as shares of a large matrix product's and copy's.

    `limits` are measured on the same device, by dtype. Rows of a dtype without a limit stay empty.
    """
    for row in rows:
        same_dtype = [limit for limit in limits if limit.dtype == row.dtype]
        if not same_dtype:
            continue
        if row.tflops is not None:
            flops_per_s = statistics.median(limit.flops_per_s for limit in same_dtype)
            row.gemm_share = row.tflops * 1e12 / flops_per_s
        if row.time_ms is not None:
            bytes_per_s = row.useful_bytes / row.time_ms * 1000
            limit_per_s = statistics.median(limit.bytes_per_s for limit in same_dtype)
            row.copy_share = bytes_per_s / limit_per_s
