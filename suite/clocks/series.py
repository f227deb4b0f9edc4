"""Series of samples: what was timed of a call, and which of them says what the call costs.

On the CPU there is one, `call`. On CUDA `device` is the device's time with a cold L2, `device_hot`
with a hot one, `issue` the host's time to queue the call, `wall` a call waited for, and `graph` the
replay of a CUDA graph of it with a cold L2.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from suite.cases.case import Dtype

SeriesName = Literal["call", "device", "device_hot", "issue", "wall", "graph"]
Turns = Sequence[tuple[int, Sequence[int]]]
"""Of each turn: the round it was taken in, and its samples in nanoseconds."""


class Samples(msgspec.Struct, frozen=True):
    """What one turn gave a series, in nanoseconds."""

    name: SeriesName
    samples_ns: list[int]


def cost(series: Mapping[SeriesName, Turns]) -> SeriesName:
    """Return the series that says what a call costs in a stream of calls.

    That is the larger of the device's time and the host's time to issue, and wall time for a call
    that could not be queued behind a spin in every turn.
    """
    if "call" in series:
        return "call"
    if len(series.get("device", ())) < len(series["wall"]):
        return "wall"
    return max(("device", "issue"), key=lambda name: _median(series[name]))


def _median(turns: Turns) -> float:
    return statistics.median(sample for _, samples in turns for sample in samples)


class Sampled(msgspec.Struct, tag=True):
    """One turn's samples by series, each of so many calls, and how many had to be taken again.

    `waited_share` is how long the lane's threads were kept from a core, as a share of the turn.
    `steps` of decode were taken in it, uncounted ones too, and `recompilations` graphs compiled.
    """

    series: list[Samples]
    calls_per_sample: int
    retaken: int = 0
    waited_share: float = 0.0
    steps: int = 0
    recompilations: int = 0


class CanaryRan(msgspec.Struct, tag=True):
    """What product it was, and its times."""

    what: str
    samples_ns: list[int]


class DeviceRate(msgspec.Struct):
    """What this device does at most in a dtype."""

    dtype: Dtype
    flops_per_s: float
    bytes_per_s: float
