"""The CPU clock: turns of 50 ms, in which each sample lasts at least a millisecond.

A sample is the sum of its calls' own times. What is done with their results lies between them.
"""

import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from suite.clocks.workload import Workload

SAMPLE_NS = 1_000_000
SLICE_NS = 50_000_000
MIN_SAMPLES = 2
SETTLE_S = 0.005


def take_slice(workload: Workload, calls_per_sample: int) -> tuple[list[int], int]:
    """Return the elapsed nanoseconds of a turn's samples, and how many calls make a sample.

    A `calls_per_sample` of 0 means that this turn finds the number, so that a sample lasts at least
    a millisecond. The turn's first call is discarded, because another lane has used the caches
    since. At least two samples follow, so that a slow variant also spends most of its turn being
    timed. Then the clock sleeps until OpenMP's threads have stopped spinning (2 to 4 ms on the 2
    cores this was measured on), so that the next lane has all cores.
    """
    samples_ns: list[int] = []
    with no_garbage_collection():
        discarded_ns = _elapsed_ns(workload, 1)
        calls = calls_per_sample or _calls_for_a_sample(workload, discarded_ns)
        spent_ns = 0
        while spent_ns < SLICE_NS or len(samples_ns) < MIN_SAMPLES:
            samples_ns.append(_elapsed_ns(workload, calls))
            spent_ns += samples_ns[-1]
    time.sleep(SETTLE_S)
    return samples_ns, calls


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Switch Python's garbage collector off while the block runs."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _calls_for_a_sample(workload: Workload, first_ns: int) -> int:
    if first_ns >= 20 * SAMPLE_NS:
        return 1
    fastest_ns = min(_elapsed_ns(workload, 1) for _ in range(3))
    return max(1, math.ceil(SAMPLE_NS / max(1, fastest_ns)))


def _elapsed_ns(workload: Workload, calls: int) -> int:
    elapsed_ns = 0
    for _ in range(calls):
        call = next(workload)
        start_ns = time.perf_counter_ns()
        results = call()
        elapsed_ns += time.perf_counter_ns() - start_ns
        workload.inspect(results)
        del results  # its memory may be used for the next result
    return elapsed_ns
