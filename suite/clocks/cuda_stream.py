"""The CUDA clock's stream: torch's current stream, a spin kernel, and a buffer larger than the L2.

A call can also be captured in a CUDA graph, so that the host needs almost no time to replay it.

Nothing here has run on a GPU yet (docs/gpu.md).
"""

import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch

LEAST_FLUSH_BYTES = 256 << 20
CALIBRATION_CYCLES = 20_000_000
WARM_CALLS = 3
_Results = TypeVar("_Results")


class CudaStream:
    """The current stream of one device, with a spin kernel and a flush buffer."""

    def __init__(self, device: torch.device) -> None:
        """Allocate the flush buffer, of max(2 x L2, 256 MiB).

        The spin kernel is timed at the first spin, not here: lanes start at the same time and
        would disturb each other's timing, but spin only in their turns.
        """
        self._device = device
        l2_bytes = torch.cuda.get_device_properties(device).L2_cache_size
        size = max(2 * l2_bytes, LEAST_FLUSH_BYTES)
        self._buffer = torch.empty(size, dtype=torch.int8, device=device)
        self._cycles_per_ns: float | None = None

    def now_ns(self) -> int:
        """Return the host's monotonic time."""
        return time.perf_counter_ns()

    def flush(self) -> None:
        """Queue zeroes over the whole buffer."""
        self._buffer.zero_()

    def spin(self, duration_ns: int) -> None:
        """Queue torch's spin kernel, which counts SM cycles."""
        if self._cycles_per_ns is None:
            self._cycles_per_ns = self._measure_cycles_per_ns()
        torch.cuda._sleep(int(duration_ns * self._cycles_per_ns))

    def mark(self) -> torch.cuda.Event:
        """Queue a timing event."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def has_passed(self, mark: torch.cuda.Event) -> bool:
        """Whether the device has reached an event; does not wait."""
        return bool(mark.query())

    def between_ns(self, start: torch.cuda.Event, end: torch.cuda.Event) -> int:
        """Return the time from one event to the other, exact to about half a microsecond."""
        return round(float(start.elapsed_time(end)) * 1e6)

    def wait(self) -> None:
        """Synchronise the device, streams of libraries included."""
        torch.cuda.synchronize(self._device)

    def _measure_cycles_per_ns(self) -> float:
        """Return SM cycles per nanosecond, at the SM clock that the spin kernel runs at."""
        for _ in range(2):
            start = self.mark()
            torch.cuda._sleep(CALIBRATION_CYCLES)
            end = self.mark()
            self.wait()
        return CALIBRATION_CYCLES / max(1, self.between_ns(start, end))


def capture(call: Callable[[], _Results], device: torch.device) -> Callable[[], _Results]:
    """Return the replay of `call`'s work on the device; it returns the same tensors every time.

    Raises RuntimeError when the call can't be captured, because it waits for the device or
    allocates outside torch. The process must then not be used any further.
    """
    stream = _capture_stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_CALLS):
            call()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = call()

    def replay() -> _Results:
        graph.replay()
        return results

    return replay


@cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Return one stream for all captures: cuBLAS keeps a workspace for every stream it has used."""
    return torch.cuda.Stream(device)
