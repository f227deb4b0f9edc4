"""The CPU clock: samples of a call, long enough to be read, in slices of equal time."""

import gc
import math
import time
from collections.abc import Callable

SAMPLE_NS = 1_000_000
SLICE_NS = 50_000_000
MIN_SAMPLES = 2
SETTLE_S = 0.003


def calls_per_sample(call: Callable[[], object]) -> int:
    """Return how many calls last a millisecond, judged by the faster of two after a warm one."""
    call()
    return max(1, math.ceil(SAMPLE_NS / min(_elapsed_ns(call, 1), _elapsed_ns(call, 1))))


def take_slice(call: Callable[[], object], calls: int) -> list[int]:
    """Return elapsed nanoseconds of samples of `calls` calls, for one turn of about 50 ms.

    The first call is discarded, because another lane has used the caches since; at least two
    samples follow, so that a slow variant spends most of its turn being timed. Afterwards the
    OpenMP threads are given the time to stop spinning, so that the next lane has its cores.
    """
    samples: list[int] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        call()
        spent = 0
        while spent < SLICE_NS or len(samples) < MIN_SAMPLES:
            samples.append(_elapsed_ns(call, calls))
            spent += samples[-1]
    finally:
        if collecting:
            gc.enable()
    time.sleep(SETTLE_S)
    return samples


def _elapsed_ns(call: Callable[[], object], calls: int) -> int:
    start = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return time.perf_counter_ns() - start
