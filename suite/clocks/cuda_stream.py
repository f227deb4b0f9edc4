"""The CUDA clock's stream: torch's current stream, a spin kernel, and a buffer larger than the L2.

Nothing here has run on a GPU yet (docs/gpu.md).
"""

import time

import torch

LEAST_FLUSH_BYTES = 256 << 20
CALIBRATION_CYCLES = 20_000_000


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
        torch.cuda._sleep(int(duration_ns * self._cycles_per_ns))  # type: ignore[no-untyped-call]

    def mark(self) -> torch.cuda.Event:
        """Queue a timing event."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def passed(self, mark: torch.cuda.Event) -> bool:
        """Whether the device has reached an event; does not wait."""
        return bool(mark.query())  # type: ignore[no-untyped-call]

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
            torch.cuda._sleep(CALIBRATION_CYCLES)  # type: ignore[no-untyped-call]
            end = self.mark()
            self.wait()
        return CALIBRATION_CYCLES / max(1, self.between_ns(start, end))
