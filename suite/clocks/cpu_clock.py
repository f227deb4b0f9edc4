"""The CPU clock: samples of a call, long enough to be read, in slices of equal time."""

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SAMPLE_NS = 1_000_000
SLICE_NS = 50_000_000
MIN_SAMPLES = 2
SETTLE_S = 0.005


def take_slice(call: Callable[[], object], calls_per_sample: int) -> tuple[list[int], int]:
    """Return elapsed nanoseconds of each sample of one turn, and how many calls make a sample.

    With `calls_per_sample` 0 it is chosen first, so that a sample lasts at least a millisecond.
    The turn's first call is discarded, because another lane has used the caches since; at least
    two samples follow, so that a slow variant too spends most of its turn being timed. Then the
    OpenMP threads are left to stop spinning (2 to 4 ms here), so that the next lane has its cores.
    """
    samples_ns: list[int] = []
    with no_garbage_collection():
        discarded_ns = _elapsed_ns(call, 1)
        calls = calls_per_sample or _calls_for_a_sample(call, discarded_ns)
        spent_ns = 0
        while spent_ns < SLICE_NS or len(samples_ns) < MIN_SAMPLES:
            samples_ns.append(_elapsed_ns(call, calls))
            spent_ns += samples_ns[-1]
    time.sleep(SETTLE_S)
    return samples_ns, calls


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python's collector out of what is timed."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _calls_for_a_sample(call: Callable[[], object], first_ns: int) -> int:
    if first_ns >= 20 * SAMPLE_NS:
        return 1
    fastest_ns = min(_elapsed_ns(call, 1) for _ in range(3))
    return max(1, math.ceil(SAMPLE_NS / max(1, fastest_ns)))


def _elapsed_ns(call: Callable[[], object], calls: int) -> int:
    start = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return time.perf_counter_ns() - start
