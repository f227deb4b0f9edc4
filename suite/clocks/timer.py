"""Timers: a turn's samples, taken the same way on a CPU and on CUDA."""

from typing import Protocol

import torch

from suite.clocks import cpu_clock
from suite.clocks.cuda_clock import CudaClock, Stream
from suite.clocks.series import Samples, TurnSamples
from suite.clocks.workload import Workload


class Timer(Protocol):
    """Times a workload, a turn at a time."""

    def take(self) -> TurnSamples:
        """Return the samples of one turn."""


class CpuTimer:
    """Times calls on a CPU; the first turn finds how many calls make a sample."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._calls_per_sample = 0

    def take(self) -> TurnSamples:
        """Return the turn's one series."""
        samples_ns, self._calls_per_sample = cpu_clock.take_slice(
            self._workload, self._calls_per_sample
        )
        return TurnSamples([Samples("call", samples_ns)], self._calls_per_sample)


class CudaTimer:
    """Times calls on CUDA; each sample is one call, with the device's and the host's time."""

    def __init__(self, workload: Workload, stream: Stream) -> None:
        self._clock = CudaClock(workload, stream)

    def take(self) -> TurnSamples:
        """Return the turn's series."""
        turn = self._clock.take_slice()
        return TurnSamples(turn.series, 1, turn.retaken)


class Bench:
    """Makes the timers of one device; on CUDA they share a stream and its flush buffer."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: Stream | None = None
        if device.type == "cuda":
            from suite.clocks.cuda_stream import CudaStream

            self._stream = CudaStream(device)

    def timer(self, workload: Workload) -> Timer:
        """Return a timer of the workload's calls."""
        return CpuTimer(workload) if self._stream is None else CudaTimer(workload, self._stream)

    def wait(self) -> None:
        """Wait until the device has done everything queued."""
        if self._stream is not None:
            self._stream.wait()
