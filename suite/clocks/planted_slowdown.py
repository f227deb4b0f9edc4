"""A slowdown of known size, planted in a call to test whether a comparison detects it."""

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

_Results = TypeVar("_Results")
WARM_NS, CALIBRATING_NS = 20_000_000, 80_000_000
LEAST_CALLS = 9

LARGEST_SLOWDOWN = 10.0
"""The largest share: far beyond any machine's noise, and a turn of such calls still ends soon."""


def slow_down(call: Callable[[], _Results], share: float) -> Callable[[], _Results]:
    """Return `call` followed by a busy loop, which lasts `share` of the call's median time."""
    _elapsed_of_calls(call, WARM_NS)
    delay_ns = int(share * statistics.median(_elapsed_of_calls(call, CALIBRATING_NS)))

    def slower() -> _Results:
        result = call()
        end_ns = time.perf_counter_ns() + delay_ns
        while time.perf_counter_ns() < end_ns:
            pass
        return result

    return slower


def _elapsed_of_calls(call: Callable[[], object], for_ns: int) -> list[int]:
    elapsed_ns: list[int] = []
    while sum(elapsed_ns) < for_ns or len(elapsed_ns) < LEAST_CALLS:
        start_ns = time.perf_counter_ns()
        call()
        elapsed_ns.append(time.perf_counter_ns() - start_ns)
    return elapsed_ns
