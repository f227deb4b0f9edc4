"""The canary: a matrix product of fixed shape; its time says how fast the machine was just then."""

import torch

from suite.protocol import CanaryRan
from suite.series import cost
from suite.timer import Bench

WARM_TURNS = 5


def run(bench: Bench) -> CanaryRan:
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
