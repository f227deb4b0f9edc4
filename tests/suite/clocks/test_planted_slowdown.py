"""A planted slowdown has the size it was given, whatever the call takes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.clocks.planted_slowdown import slow_down


class Clock:
    """A clock on which a call takes its time and every reading a nanosecond."""

    def __init__(self, call_ns: int) -> None:
        self.now_ns = 0
        self.call_ns = call_ns

    def perf_counter_ns(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def call(self) -> str:
        self.now_ns += self.call_ns
        return "its result"


@given(call_ns=st.integers(100_000, 10**9), share=st.floats(0.01, 0.99))
def test_a_call_takes_so_much_longer_and_returns_what_it_did(call_ns: int, share: float) -> None:
    clock = Clock(call_ns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter_ns", clock.perf_counter_ns)
        slower = slow_down(clock.call, min(share, 2e4 / call_ns))
        before_ns = clock.now_ns
        assert slower() == "its result"
    took_ns = clock.now_ns - before_ns
    assert took_ns == pytest.approx(call_ns * (1 + min(share, 2e4 / call_ns)), abs=5)
