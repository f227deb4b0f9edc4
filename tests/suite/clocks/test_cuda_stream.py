"""The CUDA clock on a real GPU: a known duration is found, and triton's clock agrees."""

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from suite.clocks.cuda_clock import CudaClock
from suite.clocks.cuda_stream import CudaStream, capture
from suite.clocks.workload import RepeatedCall

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda:0")


def median_ns(call: Callable[[], object], name: str = "device") -> float:
    """Return the median of one series over three turns."""
    clock = CudaClock(RepeatedCall(call), CudaStream(DEVICE))
    turns = [clock.take_slice() for _ in range(3)]
    samples = [
        sample
        for turn in turns
        for series in turn.series
        if series.name == name
        for sample in series.samples_ns
    ]
    return statistics.median(samples)


def attention(length: int) -> Callable[[], object]:
    """Return bias-free causal attention of 32 heads of 128 in bfloat16."""
    q, k, v = (
        torch.randn(1, 32, length, 128, device=DEVICE, dtype=torch.bfloat16) for _ in range(3)
    )
    return lambda: scaled_dot_product_attention(q, k, v, is_causal=True)


@pytest.mark.filterwarnings("ignore")  # triton's own, as it builds its driver
@pytest.mark.parametrize("length", [2048, 8192])
def test_triton_s_do_bench_times_the_same_kernel_within_2_percent(length: int) -> None:
    from triton.testing import do_bench

    call = attention(length)
    ours_ms = median_ns(call) / 1e6
    theirs_ms = do_bench(call, warmup=100, rep=400, return_mode="median")
    print(f"length {length}: ours {ours_ms:.4f} ms, do_bench {theirs_ms:.4f} ms")
    assert ours_ms == pytest.approx(theirs_ms, rel=0.02)


def test_a_spin_twice_as_long_takes_twice_the_time() -> None:
    cycles = 2_000_000
    one_ns = median_ns(lambda: torch.cuda._sleep(cycles))
    two_ns = median_ns(lambda: torch.cuda._sleep(2 * cycles))
    assert two_ns == pytest.approx(2 * one_ns, rel=0.02)


def test_the_hosts_time_is_not_in_the_devices() -> None:
    buffer = torch.zeros(1024, device=DEVICE)

    def slow_to_issue() -> None:
        time.sleep(0.002)
        buffer.zero_()

    assert median_ns(slow_to_issue) < 50_000
    assert median_ns(slow_to_issue, "issue") > 2_000_000


def test_a_call_that_waits_for_the_device_has_wall_time_only() -> None:
    buffer = torch.zeros(1024, device=DEVICE)
    taken = CudaClock(RepeatedCall(lambda: buffer.sum().item()), CudaStream(DEVICE)).take_slice()
    assert [series.name for series in taken.series] == ["wall"]


def test_the_flush_leaves_the_l2_cold() -> None:
    buffer = torch.ones(16 << 20, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(buffer)

    def copy() -> None:
        target.copy_(buffer)

    assert median_ns(copy) > 1.1 * median_ns(copy, "device_hot")


def test_a_captured_call_replays_the_same_work() -> None:
    buffer = torch.zeros(1024, device=DEVICE)
    replay = capture(lambda: buffer.add_(1), DEVICE)
    before = buffer[0].item()
    replay()
    torch.cuda.synchronize()
    assert buffer[0].item() == before + 1
