"""One way to take a turn's samples, whatever the device."""

from collections.abc import Callable
from typing import Protocol

import torch

from suite.clocks import cpu_clock
from suite.clocks.cuda_clock import CudaClock, Stream
from suite.clocks.series import Sampled, Samples


class Timer(Protocol):
    """Takes turns of one call."""

    def take(self) -> Sampled:
        """Return the samples of one turn."""


class CpuTimer:
    """Samples of enough calls to be read, the number found at the first turn."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._calls_per_sample = 0

    def take(self) -> Sampled:
        """Return the turn's one series."""
        samples_ns, self._calls_per_sample = cpu_clock.take_slice(
            self._call, self._calls_per_sample
        )
        return Sampled([Samples("call", samples_ns)], self._calls_per_sample)


class CudaTimer:
    """Samples of one call each, the device's time and the host's apart."""

    def __init__(self, call: Callable[[], object], stream: Stream) -> None:
        self._clock = CudaClock(call, stream)

    def take(self) -> Sampled:
        """Return the turn's series."""
        taken = self._clock.take_slice()
        return Sampled(taken.series, 1, taken.retaken)


class Bench:
    """Makes timers for one device; on CUDA they share a stream and its flush buffer."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: Stream | None = None
        if device.type == "cuda":
            from suite.clocks.cuda_stream import CudaStream

            self._stream = CudaStream(device)

    def timer(self, call: Callable[[], object]) -> Timer:
        """Return a timer of `call`."""
        return CpuTimer(call) if self._stream is None else CudaTimer(call, self._stream)

    def wait(self) -> None:
        """Wait until the device has done everything queued."""
        if self._stream is not None:
            self._stream.wait()
