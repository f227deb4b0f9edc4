"""What a row says of its device: the clock's series, and how near a call comes to the limits."""

import statistics
from collections.abc import Sequence

from reports.estimates import series_ms
from reports.row import Row
from suite.record import Limit, Time


def fill_in_series(row: Row, times: Sequence[Time]) -> None:
    """Fill in which series the time is, those beside it, and what held the clock down."""
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


def hold_against_limits(rows: Sequence[Row], limits: Sequence[Limit]) -> None:
    """Fill in the useful FLOPs and bytes a second as shares of what the device does at most."""
    for row in rows:
        own = [limit for limit in limits if limit.dtype == row.dtype]
        if own and row.tflops is not None:
            row.gemm_share = row.tflops * 1e12 / statistics.median(one.flops_per_s for one in own)
        if own and row.time_ms is not None:
            bytes_per_s = row.useful_bytes / row.time_ms * 1000
            row.copy_share = bytes_per_s / statistics.median(one.bytes_per_s for one in own)
