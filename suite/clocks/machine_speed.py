"""The canary: a matrix product of fixed shape; its time says how fast the machine was just then."""

import statistics
from collections.abc import Callable, Sequence

import torch

from suite.cases.case import Dtype
from suite.clocks.series import CanaryRan, DeviceRate, cost
from suite.clocks.timer import Bench

WARM_TURNS = 5


def run_canary(bench: Bench) -> CanaryRan:
    """Return nanoseconds of a product, one a sample, for one turn.

    Turns go before it unrecorded: on the CPU the first 0.15 s of work ran up to 1.4 times slower.
    """
    side, dtype = (8192, torch.bfloat16) if bench.device.type == "cuda" else (1024, torch.float32)
    generator = torch.Generator(bench.device).manual_seed(0)
    left, right = (
        torch.randn(side, side, generator=generator, device=bench.device).to(dtype)
        for _ in range(2)
    )
    timer = bench.timer(lambda: left @ right)
    for _ in range(WARM_TURNS):
        timer.take()
    sampled = timer.take()
    series = {one.name: [(0, one.samples_ns)] for one in sampled.series}
    ((_, samples_ns),) = series[cost(series)]
    what = f"{side} x {side} {str(dtype).removeprefix('torch.')} product"
    return CanaryRan(what, [sample // sampled.calls_per_sample for sample in samples_ns])


def find_limits(bench: Bench, dtypes: Sequence[Dtype]) -> list[DeviceRate]:
    """Return the rates of each dtype on random data: a product of zeros can run faster."""
    on_cuda = bench.device.type == "cuda"
    side, copied = (8192, 1 << 30) if on_cuda else (1024, 64 << 20)
    source = torch.ones(copied, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    bytes_per_s = 2 * copied / _seconds(bench, lambda: target.copy_(source))
    found = []
    for name in dtypes:
        dtype = getattr(torch, name)
        left, right = (torch.randn(side, side, device=bench.device).to(dtype) for _ in range(2))
        seconds = _seconds(bench, lambda left=left, right=right: left @ right)  # type: ignore[misc]
        found.append(DeviceRate(name, 2 * side**3 / seconds, bytes_per_s))
    return found


def _seconds(bench: Bench, call: Callable[[], object]) -> float:
    timer = bench.timer(call)
    timer.take()
    sampled = timer.take()
    names = {one.name: one.samples_ns for one in sampled.series}
    samples_ns = names.get("device") or names.get("call") or names["wall"]
    return statistics.median(samples_ns) / sampled.calls_per_sample / 1e9
