"""A slowdown of known size, planted in a call to see whether a comparison finds it."""

import statistics
import time
from collections.abc import Callable

CALIBRATING_CALLS = 15


def slowed(call: Callable[[], object], share: float) -> Callable[[], object]:
    """Return `call` followed by a busy loop of so large a share of its own median time."""
    call()
    delay_ns = int(share * statistics.median(_elapsed_ns(call) for _ in range(CALIBRATING_CALLS)))

    def slower() -> object:
        result = call()
        end_ns = time.perf_counter_ns() + delay_ns
        while time.perf_counter_ns() < end_ns:
            pass
        return result

    return slower


def _elapsed_ns(call: Callable[[], object]) -> int:
    start_ns = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start_ns
