"""How fast the machine is: a canary for each pass, and the device's limits for each dtype.

The canary is a matrix product of fixed shape. Its time says how fast the machine was at that
moment, so passes and runs can be told apart by it. The limits are the rates of a large matrix
product and a large copy: the most that the device does, against which variants are rated.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from suite.cases.case import Dtype
from suite.clocks.series import CanaryTimes, DeviceRate, cost
from suite.clocks.timer import Bench
from suite.clocks.workload import RepeatedCall

WARM_TURNS = 5
SHIFTS = (8, 4, 0)
"""A copy is timed at a 256th, a 16th and the whole of the large size."""

SMALL_SIDE, SLOW_S, TRIALS = 256, 0.8, 4


def run_canary(bench: Bench) -> CanaryTimes:
    """Return the nanoseconds of a product, one for each sample of a turn.

    Its sides are 8192 in half precision on CUDA, and 1024 in float32 on a CPU. Five turns before it
    are not recorded: on a CPU, the first 0.15 s of work took up to 1.4 times as long.
    """
    on_cuda = bench.device.type == "cuda"
    side, dtype = (8192, _half(bench.device)) if on_cuda else (1024, torch.float32)
    generator = torch.Generator(bench.device).manual_seed(0)
    left, right = (
        torch.randn(side, side, generator=generator, device=bench.device).to(dtype)
        for _ in range(2)
    )
    timer = bench.timer(RepeatedCall(lambda: left @ right))
    for _ in range(WARM_TURNS):
        timer.take()
    turn = timer.take()
    series = {samples.name: [(0, samples.samples_ns)] for samples in turn.series}
    ((_, samples_ns),) = series[cost(series)]
    what = f"{side} x {side} {str(dtype).removeprefix('torch.')} product"
    return CanaryTimes(what, [sample // turn.calls_per_sample for sample in samples_ns])


def _half(gpu: torch.device) -> torch.dtype:
    """Return bfloat16, or float16 where the GPU only emulates bfloat16."""
    return torch.bfloat16 if torch.cuda.get_device_capability(gpu) >= (8, 0) else torch.float16


def find_limits(bench: Bench, dtypes: Sequence[Dtype]) -> list[DeviceRate]:
    """Return the rates of each dtype: FLOP/s of a product, bytes/s of a copy.

    A product multiplies random numbers, because zeros can be multiplied faster. A copied byte
    counts twice: as read and as written.
    """
    on_cuda = bench.device.type == "cuda"
    side, copied = (8192, 1 << 30) if on_cuda else (1024, 64 << 20)
    sizes = [copied >> shift for shift in SHIFTS]
    moves = [_move(bench, size) for size in sizes]
    peaks = tuple((2 * size, move.peak) for size, move in zip(sizes, moves, strict=True))
    rates = []
    for name in dtypes:
        product = _product(bench, name, side)
        rates.append(DeviceRate(name, product.median, moves[-1].median, product.peak, peaks))
    return rates


class _Rate(NamedTuple):
    """Work a second: in the median sample, and in the fastest."""

    median: float
    peak: float


def _product(bench: Bench, name: Dtype, side: int) -> _Rate:
    """Return the rate of a product; of a smaller one where this one would take over SLOW_S.

    A processor without instructions for a dtype takes seconds, at the same rate for every size. The
    peak in float32 on a CPU is that of a convolution if that is faster.
    """
    dtype = getattr(torch, name)

    def pair(side: int) -> tuple[Tensor, Tensor]:
        left, right = (torch.randn(side, side, device=bench.device).to(dtype) for _ in range(2))
        return left, right

    if bench.device.type == "cpu" and dtype != torch.float32:
        left, right = pair(SMALL_SIDE)
        elapsed_s = []
        for _ in range(TRIALS):  # the first waits for threads, and any may wait for a core
            start = time.perf_counter()
            left @ right
            elapsed_s.append(time.perf_counter() - start)
        if min(elapsed_s) * (side / SMALL_SIDE) ** 3 > SLOW_S:
            side = SMALL_SIDE
    left, right = pair(side)
    product = _rate(bench, lambda: left @ right, 2 * side**3)
    if bench.device.type != "cpu" or dtype != torch.float32:
        return product
    return _Rate(product.median, max(product.peak, _convolution(bench).peak))


def _convolution(bench: Bench) -> _Rate:
    """Return the rate of a convolution, which oneDNN computes.

    torch's float32 product is MKL's, which on other makers' processors leaves out instructions. On
    a 2-core AMD EPYC with AVX-512 it did 217 GFLOP/s, and this convolution 485.
    """
    channels, width, side = 256, 32, 3
    pixels = torch.randn(1, channels, width, width, device=bench.device)
    weights = torch.randn(channels, channels, side, side, device=bench.device)
    work = 2 * channels**2 * side**2 * width**2
    return _rate(bench, lambda: conv2d(pixels, weights, padding=side // 2), work)


def _move(bench: Bench, size: int) -> _Rate:
    """Return the rate of copying `size` bytes; the peak is that of a sum if that is faster."""
    source = torch.ones(size // 4, dtype=torch.float32, device=bench.device)
    target = torch.empty_like(source)
    copy = _rate(bench, lambda: target.copy_(source), 2 * size)
    peaks = [copy.peak, _rate(bench, source.sum, size).peak]
    if bench.device.type == "cpu":
        # Where other processes hold the cores, two threads that wait for each other take many
        # times as long as one.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        peaks.append(_rate(bench, lambda: target.copy_(source), 2 * size).peak)
        torch.set_num_threads(threads)
    return _Rate(copy.median, max(peaks))


def _rate(bench: Bench, call: Callable[[], object], work: float) -> _Rate:
    timer = bench.timer(RepeatedCall(call))
    timer.take()
    turn = timer.take()
    series = {samples.name: samples.samples_ns for samples in turn.series}
    samples_ns = series.get("device") or series.get("call") or series["wall"]
    calls_a_second = 1e9 * turn.calls_per_sample
    return _Rate(
        work * calls_a_second / statistics.median(samples_ns),
        work * calls_a_second / min(samples_ns),
    )
