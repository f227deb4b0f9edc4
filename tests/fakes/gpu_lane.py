"""A lane of an invented GPU, which computes nothing: short calls cost the host's time.

The second GPU is 8% slower than the first. Faults are those of tests.fakes.lane.
"""

import json
import os
import socket
import sys
from collections.abc import Iterable
from random import Random

from suite.clocks.series import Samples, TurnSamples
from suite.lanes.protocol import LaneAnswer, Prepare, Slice, Step, serve
from tests.fakes.lane import Fate, InventedLane, PlannedFault

COMMAND = (sys.executable, "-S", "-m", "tests.fakes.gpu_lane")
HOST_BOUND_UP_TO = 64
"""Calls of so many queries cost more of the host's time than of the device's."""
SLOWER = 1.08
_ISSUE_NS, _DEVICE_NS = 2_000_000, 5_000_000


class InventedGpuLane(InventedLane):
    """An invented lane whose slices have the series of CUDA's clock."""

    def __init__(self, module: str, device: str, faults: Iterable[PlannedFault]) -> None:
        super().__init__(module, faults, {}, Random(0))
        self._slower = SLOWER if device == "cuda:1" else 1.0
        self._issue_ns = self._device_ns = 0

    def answer(self, step: Step) -> LaneAnswer:
        """Return the answer to a step. Raises Fate where the lane is to end."""
        if isinstance(step, Prepare):
            is_short = step.case.q_len <= HOST_BOUND_UP_TO
            self._device_ns = round(self._slower * (_ISSUE_NS / 4 if is_short else _DEVICE_NS))
            self._issue_ns = _ISSUE_NS
        answer = super().answer(step)
        return self._turn() if isinstance(step, Slice) else answer

    def _turn(self) -> TurnSamples:
        times_ns = {"device": self._device_ns, "issue": self._issue_ns, "wall": 9_000_000}
        return TurnSamples(
            [Samples(name, [each] * 10) for name, each in times_ns.items()],  # type: ignore[arg-type]
            1,
        )


def main(channel: str, _parent: str, module: str, *rest: str) -> None:
    """Serve as a process, which really meets its fate."""
    *_, device, _threads = rest
    faults = json.loads(os.environ["FAULTS"])
    lane = InventedGpuLane(module, device, faults)
    try:
        serve(socket.socket(fileno=int(channel)), lane.answer)
    except Fate as fate:
        fate.meet()


if __name__ == "__main__":
    main(*sys.argv[1:])
