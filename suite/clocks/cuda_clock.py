"""The CUDA clock: the device's time for a call with a cold L2, and the host's time to issue it.

A sample queues five things: a write over the whole L2, a spin kernel, an event, the call, an event.
While the spin holds the stream, the host queues the rest. So only the device's work lies between
the two events. If the spin ends before the host has queued everything, the time between the events
may include the host's. Such a sample is host-bound, and is taken again behind a longer spin.
"""

import statistics
from collections import deque
from typing import Any, NamedTuple, Protocol

from suite.clocks.cpu_clock import MIN_SAMPLES, SLICE_NS, no_garbage_collection
from suite.clocks.series import Samples, SeriesName
from suite.clocks.workload import Workload

HOT_AND_WALL_EVERY = 8
"""Every so many samples, one with a hot L2 and one of wall time are taken too."""

SHORTEST_SPIN_NS = 200_000
LONGEST_SPIN_NS = 100_000_000
ISSUE_HISTORY = 15
"""How many of the last issue times decide how long the next spin is."""


class Stream(Protocol):
    """A device's queue, and the host's clock beside it."""

    def now_ns(self) -> int:
        """Return the host's time."""

    def flush(self) -> object:
        """Queue a write over more memory than the L2 holds."""

    def spin(self, duration_ns: int) -> None:
        """Queue a kernel that holds the stream for `duration_ns` and touches no memory."""

    def mark(self) -> Any:
        """Queue an event."""

    def has_passed(self, mark: Any) -> bool:
        """Whether the device has reached an event."""

    def between_ns(self, start: Any, end: Any) -> int:
        """Return the device's time between two events that it has reached."""

    def wait(self) -> None:
        """Wait until the device has done everything queued."""


class CudaTurn(NamedTuple):
    """One turn's samples by series, and how many were host-bound and taken again."""

    series: list[Samples]
    retaken: int


class CudaClock:
    """Takes the samples of one prepared call, behind spins three times as long as issuing it takes.

    A call that waits for the device, or works on another stream, can't be queued behind a spin. It
    is timed by wall time only.
    """

    def __init__(self, workload: Workload, stream: Stream) -> None:
        self._workload = workload
        self._stream = stream
        self._issues_ns: deque[int] = deque(maxlen=ISSUE_HISTORY)
        self._wall_only = False
        self._samples: dict[SeriesName, list[int]] = {}
        self._retaken = 0

    def take_slice(self, slice_ns: int = SLICE_NS) -> CudaTurn:
        """Take one turn's samples: `device`, `issue`, `device_hot` and `wall`, or only `wall`.

        The turn's first call is discarded, because another lane has used the device since.
        """
        self._samples = {"device": [], "issue": [], "device_hot": [], "wall": []}
        self._retaken = 0
        with no_garbage_collection():
            self._wall_ns()
            end_ns = self._stream.now_ns() + slice_ns
            count = 0
            while count < MIN_SAMPLES or self._stream.now_ns() < end_ns:
                self._take_sample(hot_and_wall=count % HOT_AND_WALL_EVERY == 0)
                count += 1
        self._wall_only = self._wall_only or self._works_elsewhere()
        names: tuple[SeriesName, ...] = ("wall",) if self._wall_only else tuple(self._samples)
        return CudaTurn([Samples(name, self._samples[name]) for name in names], self._retaken)

    def _take_sample(self, *, hot_and_wall: bool) -> None:
        if not self._wall_only:
            self._take_behind_spin("device", "issue", cold=True)
        if not self._wall_only and hot_and_wall:
            self._take_behind_spin("device_hot", None, cold=False)
        if self._wall_only or hot_and_wall:
            self._samples["wall"].append(self._wall_ns())

    def _take_behind_spin(
        self, device: SeriesName, issue: SeriesName | None, *, cold: bool
    ) -> None:
        spin_ns = SHORTEST_SPIN_NS
        if self._issues_ns:
            spin_ns = max(spin_ns, 3 * int(statistics.median(self._issues_ns)))
        while True:
            device_ns, issue_ns, host_bound = self._attempt(min(spin_ns, LONGEST_SPIN_NS), cold)
            if not host_bound:
                break
            if spin_ns >= LONGEST_SPIN_NS:
                self._wall_only = True
                return
            self._retaken += 1
            spin_ns *= 2
        self._issues_ns.append(issue_ns)
        self._samples[device].append(device_ns)
        if issue is not None:
            self._samples[issue].append(issue_ns)

    def _attempt(self, spin_ns: int, cold: bool) -> tuple[int, int, bool]:
        """Time a call behind a write over the L2, or behind the same call if not `cold`."""
        stream, call = self._stream, next(self._workload)
        if cold:
            stream.flush()
        else:
            call()
        stream.spin(spin_ns)
        start = stream.mark()
        issued_from_ns = stream.now_ns()
        results = call()
        issue_ns = stream.now_ns() - issued_from_ns
        end = stream.mark()
        host_bound = stream.has_passed(start)
        stream.wait()
        self._workload.inspect(results)
        return max(1, stream.between_ns(start, end)), max(1, issue_ns), host_bound

    def _wall_ns(self) -> int:
        call = next(self._workload)
        start_ns = self._stream.now_ns()
        results = call()
        self._stream.wait()
        elapsed_ns = self._stream.now_ns() - start_ns
        self._workload.inspect(results)
        return max(1, elapsed_ns)

    def _works_elsewhere(self) -> bool:
        """Whether wall time is over 0.2 ms plus twice what this stream and the host account for."""
        samples = self._samples
        if not samples["device"]:
            return False
        accounted_ns = statistics.median(samples["device"]) + statistics.median(samples["issue"])
        return statistics.median(samples["wall"]) > 2 * accounted_ns + SHORTEST_SPIN_NS
