"""What a device does at most: the rate of a large matrix product, and of a large copy."""

import statistics
from collections.abc import Callable, Sequence

import torch

from suite.case import Dtype
from suite.protocol import Rate
from suite.timer import Bench


def find(bench: Bench, dtypes: Sequence[Dtype]) -> list[Rate]:
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
        found.append(Rate(name, 2 * side**3 / seconds, bytes_per_s))
    return found


def _seconds(bench: Bench, call: Callable[[], object]) -> float:
    timer = bench.timer(call)
    timer.take()
    sampled = timer.take()
    names = {one.name: one.samples_ns for one in sampled.series}
    samples_ns = names.get("device") or names.get("call") or names["wall"]
    return statistics.median(samples_ns) / sampled.calls_per_sample / 1e9
