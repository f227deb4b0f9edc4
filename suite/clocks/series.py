"""Series of samples: which times of a call are taken, and which of them is its cost.

A CPU has one series, `call`: elapsed time with hot caches. On CUDA there are up to five:

- `device`: the device's time with a cold L2
- `device_hot`: the device's time with a hot L2
- `issue`: the host's time to queue the call
- `wall`: elapsed time of a call that the host waits for
- `graph`: the device's time to replay a CUDA graph of the call, with a cold L2

Lanes send the types below to their parent, which imports no torch.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from suite.cases.case import Dtype

SeriesName = Literal["call", "device", "device_hot", "issue", "wall", "graph"]
Turns = Sequence[tuple[int, Sequence[int]]]
"""The turns of a series: (round, the turn's samples in nanoseconds)."""


class Samples(msgspec.Struct, frozen=True):
    """The samples of one turn in one series, in nanoseconds."""

    name: SeriesName
    samples_ns: list[int]


class TurnSamples(msgspec.Struct, tag=True):
    """The samples of one turn in all series; each sample is of `calls_per_sample` calls.

    `retaken` counts samples that had to be taken again because they were host-bound.
    `waited_share` is the share of the turn that the lane's threads waited for a core. `steps`
    counts the decode steps in the turn, discarded calls included, and `recompilations` the graphs
    that torch.compile made in it.
    """

    series: list[Samples]
    calls_per_sample: int
    retaken: int = 0
    waited_share: float = 0.0
    steps: int = 0
    recompilations: int = 0


class CanaryTimes(msgspec.Struct, tag=True):
    """The canary's product in words, and its times in nanoseconds."""

    what: str
    samples_ns: list[int]


class DeviceRate(msgspec.Struct):
    """The rates of a device in a dtype: of a large matrix product and of a large copy.

    They are medians; peaks are the fastest samples. `peaks_by_size` has the fastest rate of moving
    bytes, (bytes, bytes/s) from small to large: small tensors lie in a cache.
    """

    dtype: Dtype
    flops_per_s: float
    bytes_per_s: float
    peak_flops_per_s: float = 0.0
    peaks_by_size: tuple[tuple[int, float], ...] = ()

    def faster_of(self, other: "DeviceRate") -> "DeviceRate":
        """Return this rate with the peaks of the other where those are higher."""
        return DeviceRate(
            self.dtype,
            self.flops_per_s,
            self.bytes_per_s,
            max(self.peak_flops_per_s, other.peak_flops_per_s),
            tuple(
                (size, max(peak, other.peak_bytes_per_s(size))) for size, peak in self.peaks_by_size
            ),
        )

    def peak_bytes_per_s(self, size: int) -> float:
        """Return the fastest rate of moving `size` bytes; 0 where nothing was measured.

        It is the rate of the largest size up to `size`, or of a larger one if that is faster: a
        GPU is slow with small copies.
        """
        largest = max((each for each, _ in self.peaks_by_size if each <= size), default=0)
        return max((rate for each, rate in self.peaks_by_size if each >= largest), default=0.0)


def cost(series: Mapping[SeriesName, Turns]) -> SeriesName:
    """Return the series that says what a call costs in a stream of calls.

    On a CPU it is `call`. On CUDA it is `device` or `issue`, whichever has the larger median. But
    if in any turn the call could not be queued behind a spin, it is `wall`.
    """
    if "call" in series:
        return "call"
    if len(series.get("device", ())) < len(series["wall"]):
        return "wall"
    return max(("device", "issue"), key=lambda name: _median(series[name]))


def _median(turns: Turns) -> float:
    return statistics.median(sample for _, samples in turns for sample in samples)
