"""Turns that heat, a power brake or other processes slowed are repeated, and counted."""

import time
from collections.abc import Sequence

import pytest

from suite.clocks.series import Samples, TurnSamples
from suite.conditions.nvml import Absent, Clock, NvmlGpu
from suite.race.steady_turn import Patience, steady_turn

STEADY = Clock(1980, ())
CAPPED = Clock(1700, ("power cap",))
HOT = Clock(1200, ("thermal, driver",))
BRAKED = Clock(900, ("power brake", "hardware slowdown"))


class TracedGpu(NvmlGpu):
    """A GPU whose clock follows a trace and stays at its end."""

    def __init__(self, trace: Sequence[Clock | Absent]) -> None:
        super().__init__(pynvml=None, handle=None)
        self._trace = list(trace)

    def clock(self) -> Clock | Absent:
        return self._trace.pop(0) if len(self._trace) > 1 else self._trace[0]


class Turns:
    """Counts the turns taken; each one's sample is its number, and some are disturbed."""

    def __init__(self, *waited: float) -> None:
        self._waited = list(waited)
        self.taken = 0

    def __call__(self) -> TurnSamples:
        self.taken += 1
        waited = self._waited.pop(0) if self._waited else 0.0
        return TurnSamples([Samples("device", [self.taken])], 1, waited_share=waited)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a race pauses for, without sleeping."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.mark.parametrize(
    ("trace", "kept", "throttled", "clocks"),
    [
        ([STEADY], 1, 0, [1980, 1980]),
        ([CAPPED], 1, 0, [1700, 1700]),
        ([STEADY, HOT, STEADY, STEADY], 2, 1, [1980, 1980]),
        ([HOT, STEADY, BRAKED, STEADY, STEADY], 3, 2, [1980, 1980]),
    ],
    ids=["steady", "at its power cap", "hot after it", "hot, then braked"],
)
def test_a_throttled_turn_is_repeated_and_counted(
    trace: list[Clock | Absent], kept: int, throttled: int, clocks: list[int]
) -> None:
    turns = Turns()
    turn = steady_turn(turns, TracedGpu(trace), Patience(9.0))
    assert turn.samples.series[0].samples_ns == [kept]
    assert turns.taken == kept
    assert (turn.throttled, turn.disturbed, turn.clocks_mhz) == (throttled, 0, clocks)


def test_a_turn_whose_threads_waited_for_cores_is_repeated_and_counted() -> None:
    turns = Turns(0.4, 0.06, 0.05)
    turn = steady_turn(turns, Absent("the run uses no GPU"), Patience(9.0))
    assert (turn.disturbed, turns.taken) == (2, 3)
    assert turn.samples.series[0].samples_ns == [3]


def test_what_patience_does_not_outlast_is_kept_and_counted(pauses: list[float]) -> None:
    patience = Patience(1.0)
    turns = Turns(*[0.5] * 50)
    turn = steady_turn(turns, Absent("the run uses no GPU"), patience)
    assert turn.disturbed == turns.taken == 1 + len(pauses)
    assert pauses == [0.05, 0.1, 0.2, 0.4]
    assert patience.remaining_s == pytest.approx(0.25)
    again = steady_turn(Turns(0.5, 0.5, 0.5, 0.5), Absent("none"), patience)
    assert again.disturbed == 3


def test_a_machine_that_is_always_disturbed_costs_a_bounded_time(pauses: list[float]) -> None:
    patience = Patience(3.0)
    for _ in range(100):
        steady_turn(Turns(*[0.5] * 50), Absent("none"), patience)
    assert sum(pauses) <= 3.0


def test_a_driver_that_tells_no_clock_throttles_nothing() -> None:
    turn = steady_turn(Turns(), TracedGpu([Absent("NVML: Not Supported")]), Patience(9.0))
    assert (turn.throttled, turn.clocks_mhz) == (0, [])


def test_what_lowered_the_clock_in_any_attempt_is_noted_once() -> None:
    turn = steady_turn(Turns(), TracedGpu([HOT, CAPPED, CAPPED, CAPPED]), Patience(9.0))
    assert turn.slowed_by == ("thermal, driver", "power cap")
    assert steady_turn(Turns(), TracedGpu([STEADY]), Patience(9.0)).slowed_by == ()
