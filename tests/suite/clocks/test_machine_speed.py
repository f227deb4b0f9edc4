"""What a device does at most, and how fast it is just now, from the turns of an invented timer."""

from collections.abc import Callable

import pytest
import torch

from suite.clocks.machine_speed import WARM_TURNS, find_limits, run_canary
from suite.clocks.series import Samples, TurnSamples
from suite.clocks.timer import Bench, Timer

CPU = torch.device("cpu")
MILLISECOND = 1_000_000


class InventedBench(Bench):
    """A bench on which a turn takes 3, 2 and 9 ms a call, and the turns before the last longer."""

    def __init__(self, turns: int) -> None:
        super().__init__(CPU)
        self.turns = turns
        self.calls: list[Callable[[], object]] = []

    def timer(self, call: Callable[[], object]) -> Timer:
        """Return a timer that calls nothing."""
        self.calls.append(call)
        return InventedTimer(self.turns)


class InventedTimer:
    """A timer whose turns take a second each, but for the last that is expected."""

    def __init__(self, turns: int) -> None:
        self._turns = turns

    def take(self) -> TurnSamples:
        """Return the turn's samples, each of two calls."""
        self._turns -= 1
        assert self._turns >= 0
        samples_ns = [6 * MILLISECOND, 4 * MILLISECOND, 18 * MILLISECOND]
        if self._turns:
            samples_ns = [1000 * MILLISECOND] * 3
        return TurnSamples([Samples("call", samples_ns)], 2)


def test_limits_are_rates_by_the_median_of_the_turn_after_the_first() -> None:
    bench = InventedBench(turns=2)
    float32, bfloat16 = find_limits(bench, ("float32", "bfloat16"))
    assert (float32.dtype, bfloat16.dtype) == ("float32", "bfloat16")
    for rate in (float32, bfloat16):
        assert rate.flops_per_s == pytest.approx(2 * 1024**3 / 3e-3)
        assert rate.bytes_per_s == pytest.approx(2 * (64 << 20) / 3e-3)


def test_limits_time_a_copy_and_a_product_in_each_dtype() -> None:
    bench = InventedBench(turns=2)
    find_limits(bench, ("float32",))
    copy, product = bench.calls
    copied, multiplied = copy(), product()
    assert isinstance(copied, torch.Tensor)
    assert isinstance(multiplied, torch.Tensor)
    assert (copied.nbytes, copied.sum().item()) == (64 << 20, 64 << 20)
    assert (multiplied.shape, multiplied.dtype) == ((1024, 1024), torch.float32)
    assert multiplied.std().item() == pytest.approx(32, rel=0.1)


def test_the_canary_is_the_turn_after_the_warm_ones_a_call_at_a_time() -> None:
    bench = InventedBench(turns=WARM_TURNS + 1)
    ran = run_canary(bench)
    assert ran.what == "1024 x 1024 float32 product"
    assert ran.samples_ns == [3 * MILLISECOND, 2 * MILLISECOND, 9 * MILLISECOND]


def test_waiting_for_the_cpu_is_nothing() -> None:
    Bench(CPU).wait()


def test_a_timer_finds_how_many_calls_a_sample_needs_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[int] = []

    def take_slice(call: Callable[[], object], calls_per_sample: int) -> tuple[list[int], int]:
        found.append(calls_per_sample)
        return [5, 6], 40

    monkeypatch.setattr("suite.clocks.cpu_clock.take_slice", take_slice)
    timer = Bench(CPU).timer(lambda: None)
    assert timer.take() == timer.take() == TurnSamples([Samples("call", [5, 6])], 40)
    assert found == [0, 40]
