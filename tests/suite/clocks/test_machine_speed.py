"""What a device does at most, and how fast it is just now, measured by the clock of the race."""

import torch

from suite.clocks.machine_speed import find_limits, run_canary
from suite.clocks.timer import Bench

CPU = Bench(torch.device("cpu"))


def test_limits_have_a_rate_for_each_dtype_and_one_copy() -> None:
    found = find_limits(CPU, ("float32", "bfloat16"))
    assert [rate.dtype for rate in found] == ["float32", "bfloat16"]
    assert all(rate.flops_per_s > 1e9 for rate in found)
    assert len({rate.bytes_per_s for rate in found}) == 1
    assert 1e8 < found[0].bytes_per_s < 1e12


def test_the_canary_and_the_limit_of_its_dtype_tell_of_the_same_product() -> None:
    ran = run_canary(CPU)
    assert ran.what == "1024 x 1024 float32 product"
    (rate,) = find_limits(CPU, ("float32",))
    fastest_s = min(ran.samples_ns) / 1e9
    assert 0.2 < 2 * 1024**3 / fastest_s / rate.flops_per_s < 5


def test_waiting_for_the_cpu_is_nothing() -> None:
    CPU.wait()


def test_a_timer_finds_how_many_calls_a_sample_needs_once() -> None:
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1

    timer = CPU.timer(call)
    first, second = timer.take(), timer.take()
    assert first.calls_per_sample == second.calls_per_sample > 100
    assert [series.name for series in first.series] == ["call"]
    assert calls > first.calls_per_sample * len(first.series[0].samples_ns)
