"""Another clock beside ours: torch.utils.benchmark, or on a GPU triton's do_bench.

    python benchmarks/verdicts/clock_check.py

Each of a few calls is timed by both clocks, in turns, three times. A second table says what it
costs to go through two sets of inputs in turn, which a race does. Takes a minute.
"""

import statistics
from collections.abc import Callable, Sequence
from itertools import cycle

import torch
from tabulate import tabulate
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.benchmark import Timer

from suite.clocks.series import cost
from suite.clocks.timer import Bench
from suite.clocks.workload import RepeatedCall, Workload
from suite.conditions.device import device_for

REPEATS = 3
SECONDS = 1.0


def main() -> None:
    """Time every call with both clocks and print one table."""
    device = torch.device(device_for().name)
    theirs = do_bench_ms if device.type == "cuda" else timer_ms
    bench = Bench(device)
    lines = []
    with torch.no_grad():
        for name, call in calls(device).items():
            call()
            pairs = [(suite_ms(bench, RepeatedCall(call)), theirs(call)) for _ in range(REPEATS)]
            mine, other = (statistics.median(figures) for figures in zip(*pairs, strict=True))
            lines.append((name, f"{mine:.4f}", f"{other:.4f}", f"{mine / other - 1:+.1%}"))
    other_name = "do_bench ms" if device.type == "cuda" else "torch Timer ms"
    headers = ("call", "ours ms", other_name, "apart")
    print(tabulate(lines, headers, disable_numparse=True))
    print()
    print(cost_of_sets(bench))


def cost_of_sets(bench: Bench) -> str:
    """Return a table of bias-free attention on one set of inputs, and on two in turn."""
    lines = []
    for name, q_len, kv_len in (("decode", 1, 1024), ("decode", 1, 8192), ("prefill", 512, 512)):
        sets = [attention(bench.device, q_len, kv_len) for _ in range(2)]
        ratios, singles = [], []
        for _ in range(REPEATS):
            singles.append(suite_ms(bench, RepeatedCall(sets[0])))
            ratios.append(suite_ms(bench, CallRotation(sets)) / singles[-1])
        ms, ratio = statistics.median(singles), statistics.median(ratios)
        lines.append((f"{name}, {kv_len}", f"{ms:.4f}", f"{ratio:.2f}x"))
    return tabulate(lines, ("call", "one set, ms", "two sets"), disable_numparse=True)


class CallRotation:
    """Calls in turn; nobody looks at their results."""

    def __init__(self, calls: Sequence[Callable[[], object]]) -> None:
        self._calls = cycle(calls)

    def __next__(self) -> Callable[[], object]:
        """Return the next call."""
        return next(self._calls)

    def inspect(self, results: object) -> None:
        """Look at nothing."""


def attention(device: torch.device, q_len: int, kv_len: int) -> Callable[[], object]:
    """Return a call of bias-free attention: 8 heads of 64, float32, on inputs of its own."""
    q, k, v = (torch.randn(1, 8, length, 64, device=device) for length in (q_len, kv_len, kv_len))
    is_causal = q_len == kv_len
    return lambda: scaled_dot_product_attention(q, k, v, is_causal=is_causal)


def calls(device: torch.device) -> dict[str, Callable[[], object]]:
    """Return calls of different durations on a device, by name."""
    heads, dtype = (32, torch.bfloat16) if device.type == "cuda" else (8, torch.float32)
    lengths = (2048, 8192) if device.type == "cuda" else (256, 512, 1024)
    by_name: dict[str, Callable[[], object]] = {}
    for length in lengths:
        q, k, v = (torch.randn(1, heads, length, 64, device=device, dtype=dtype) for _ in range(3))
        by_name[f"no_bias, {length}"] = lambda q=q, k=k, v=v: scaled_dot_product_attention(  # type: ignore[misc]
            q, k, v, is_causal=True
        )
    side = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    by_name[f"product, {side}"] = lambda: left @ right
    return by_name


def suite_ms(bench: Bench, workload: Workload) -> float:
    """Return our median milliseconds of a call, over a second of turns."""
    timer = bench.timer(workload)
    samples: list[float] = []
    while sum(samples) < SECONDS:
        sampled = timer.take()
        series = {part.name: [(0, part.samples_ns)] for part in sampled.series}
        name = "device" if "device" in series else cost(series)
        ((_, samples_ns),) = series[name]
        samples += [sample / sampled.calls_per_sample / 1e9 for sample in samples_ns]
    return 1000 * statistics.median(samples)


def timer_ms(call: Callable[[], object]) -> float:
    """Return the median milliseconds of a call by torch's Timer."""
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return 1000 * timer.blocked_autorange(min_run_time=SECONDS).median


def do_bench_ms(call: Callable[[], object]) -> float:
    """Return the median milliseconds of a call by triton's do_bench."""
    from triton.testing import do_bench

    return float(do_bench(call, warmup=100, rep=int(1000 * SECONDS), return_mode="median"))


if __name__ == "__main__":
    main()
