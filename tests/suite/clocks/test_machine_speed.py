"""What a device does at most, and how fast it is just now, from the turns of an invented timer."""

from collections.abc import Callable

import pytest
import torch

from suite.clocks import machine_speed
from suite.clocks.machine_speed import SMALL_SIDE, WARM_TURNS, _Rate, find_limits, run_canary
from suite.clocks.series import DeviceRate, Samples, TurnSamples
from suite.clocks.timer import Bench, Timer
from suite.clocks.workload import RepeatedCall, Workload

CPU = torch.device("cpu")
MILLISECOND = 1_000_000


class InventedBench(Bench):
    """A bench on which a turn takes 3, 2 and 9 ms a call, and the turns before the last longer."""

    def __init__(self, turns: int) -> None:
        super().__init__(CPU)
        self.turns = turns
        self.calls: list[Callable[[], object]] = []

    def timer(self, workload: Workload) -> Timer:
        """Return a timer that calls nothing."""
        self.calls.append(next(workload))
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


def test_limits_are_rates_by_the_median_of_the_turn_after_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("suite.clocks.machine_speed.SLOW_S", 1e9)
    bench = InventedBench(turns=2)
    float32, bfloat16 = find_limits(bench, ("float32", "bfloat16"))
    assert (float32.dtype, bfloat16.dtype) == ("float32", "bfloat16")
    for rate in (float32, bfloat16):
        assert rate.flops_per_s == pytest.approx(2 * 1024**3 / 3e-3)
        assert rate.bytes_per_s == pytest.approx(2 * (64 << 20) / 3e-3)
        assert rate.peak_flops_per_s == pytest.approx(2 * 1024**3 / 2e-3)
        assert [size for size, _ in rate.peaks_by_size] == [1 << 19, 1 << 23, 1 << 27]
        assert all(peak == pytest.approx(size / 2e-3) for size, peak in rate.peaks_by_size)


def test_a_dtype_without_instructions_is_rated_by_a_smaller_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("suite.clocks.machine_speed.SLOW_S", 0.0)
    bench = InventedBench(turns=2)
    (rate,) = find_limits(bench, ("bfloat16",))
    product = bench.calls[-1]()
    assert isinstance(product, torch.Tensor)
    assert (product.shape, product.dtype) == ((SMALL_SIDE, SMALL_SIDE), torch.bfloat16)
    assert rate.flops_per_s == pytest.approx(2 * SMALL_SIDE**3 / 3e-3)


def test_bytes_move_at_most_at_the_rate_of_the_largest_copy_that_is_no_larger() -> None:
    rate = DeviceRate("float32", 1.0, 1.0, peaks_by_size=((100, 30.0), (1000, 20.0)))
    assert [rate.peak_bytes_per_s(size) for size in (1, 100, 999, 1000, 5000)] == [
        *(30.0, 30.0, 30.0),
        *(20.0, 20.0),
    ]
    assert DeviceRate("float32", 1.0, 1.0).peak_bytes_per_s(100) == 0


def test_limits_time_a_copy_and_a_product_in_each_dtype() -> None:
    bench = InventedBench(turns=2)
    find_limits(bench, ("float32",))
    *_, copy, add, _, product, convolution = bench.calls
    copied, added, multiplied, convolved = copy(), add(), product(), convolution()
    assert isinstance(added, torch.Tensor)
    assert added.item() == 16 << 20
    assert isinstance(copied, torch.Tensor)
    assert isinstance(multiplied, torch.Tensor)
    assert (copied.nbytes, copied.sum().item()) == (64 << 20, 16 << 20)
    assert (multiplied.shape, multiplied.dtype) == ((1024, 1024), torch.float32)
    assert multiplied.std().item() == pytest.approx(32, rel=0.1)
    assert isinstance(convolved, torch.Tensor)
    assert convolved.shape == (1, 256, 32, 32)


def test_the_peak_is_the_convolution_s_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MKL's product leaves out instructions on processors of other makers than its own."""
    for rate, peak in ((1e30, 1e30), (1.0, 2 * 1024**3 / 2e-3)):
        monkeypatch.setattr(machine_speed, "_convolution", lambda _, rate=rate: _Rate(rate, rate))
        (float32,) = find_limits(InventedBench(turns=2), ("float32",))
        assert float32.peak_flops_per_s == pytest.approx(peak)
        assert float32.flops_per_s == pytest.approx(2 * 1024**3 / 3e-3)


def test_the_canary_is_the_turn_after_the_warm_ones_a_call_at_a_time() -> None:
    bench = InventedBench(turns=WARM_TURNS + 1)
    ran = run_canary(bench)
    assert ran.what == "1024 x 1024 float32 product"
    assert ran.samples_ns == [3 * MILLISECOND, 2 * MILLISECOND, 9 * MILLISECOND]


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_the_canary_of_a_gpu_is_in_what_it_computes_in(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert machine_speed._half(torch.device("cuda:0")) == dtype


def test_waiting_for_the_cpu_is_nothing() -> None:
    Bench(CPU).wait()


def test_a_timer_finds_how_many_calls_a_sample_needs_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[int] = []

    def take_slice(_: Workload, calls_per_sample: int) -> tuple[list[int], int]:
        found.append(calls_per_sample)
        return [5, 6], 40

    monkeypatch.setattr("suite.clocks.cpu_clock.take_slice", take_slice)
    timer = Bench(CPU).timer(RepeatedCall(lambda: None))
    assert timer.take() == timer.take() == TurnSamples([Samples("call", [5, 6])], 40)
    assert found == [0, 40]
