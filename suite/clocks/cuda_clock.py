"""The CUDA clock: what a call costs the device with a cold L2, and what it costs the host to issue.

A sample queues, one behind the other: a write over the whole L2, a spin, an event, the call, an
event. While the spin holds the stream the host queues the rest, so that nothing but the device's
work lies between the two events. Where the spin was over first, the host may be in it: such a
sample is host-bound, and is taken again behind a longer spin.
"""

import statistics
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from suite.clocks.cpu_clock import MIN_SAMPLES, SLICE_NS, no_garbage_collection
from suite.clocks.series import Samples, SeriesName

OTHERS_EVERY = 8
SHORTEST_SPIN_NS = 200_000
LONGEST_SPIN_NS = 100_000_000
REMEMBERED = 15


class Stream(Protocol):
    """A device's queue, and the host's clock beside it."""

    def now_ns(self) -> int:
        """Return the host's time."""

    def flush(self) -> object:
        """Queue a write over more memory than the L2 holds."""

    def spin(self, duration_ns: int) -> None:
        """Queue a kernel that holds the stream for so long and touches no memory."""

    def mark(self) -> Any:
        """Queue an event."""

    def passed(self, mark: Any) -> bool:
        """Whether the device has come to an event yet."""

    def between_ns(self, start: Any, end: Any) -> int:
        """Return the device's time between two events that it has passed."""

    def wait(self) -> None:
        """Wait until the device has done everything queued."""


class Taken(NamedTuple):
    """One turn's samples by series, and how many were host-bound and taken again."""

    series: list[Samples]
    retaken: int


class CudaClock:
    """Takes the samples of one prepared call; remembers how long its spins have to be.

    A call that can't be queued behind a spin, because it waits for the device itself or works on
    a stream of its own, has wall time only.
    """

    def __init__(self, call: Callable[[], object], stream: Stream) -> None:
        self._call = call
        self._stream = stream
        self._issues_ns: deque[int] = deque(maxlen=REMEMBERED)
        self._wall_only = False
        self._found: dict[SeriesName, list[int]] = {}
        self._retaken = 0

    def take_slice(self, slice_ns: int = SLICE_NS) -> Taken:
        """Take one turn's samples: `device`, `issue`, `device_hot` and `wall`, or `wall` alone.

        The turn's first call is discarded, because another lane has used the device since.
        """
        self._found = {"device": [], "issue": [], "device_hot": [], "wall": []}
        self._retaken = 0
        with no_garbage_collection():
            self._wall_ns()
            end_ns = self._stream.now_ns() + slice_ns
            count = 0
            while count < MIN_SAMPLES or self._stream.now_ns() < end_ns:
                self._take_one(with_others=count % OTHERS_EVERY == 0)
                count += 1
        self._wall_only = self._wall_only or self._works_elsewhere()
        names: tuple[SeriesName, ...] = ("wall",) if self._wall_only else tuple(self._found)
        return Taken([Samples(name, self._found[name]) for name in names], self._retaken)

    def _take_one(self, *, with_others: bool) -> None:
        if not self._wall_only:
            self._take_behind_spin(self._stream.flush, "device", "issue")
        if not self._wall_only and with_others:
            self._take_behind_spin(self._call, "device_hot", None)
        if self._wall_only or with_others:
            self._found["wall"].append(self._wall_ns())

    def _take_behind_spin(
        self, before: Callable[[], object], device: SeriesName, issue: SeriesName | None
    ) -> None:
        spin_ns = SHORTEST_SPIN_NS
        if self._issues_ns:
            spin_ns = max(spin_ns, 3 * int(statistics.median(self._issues_ns)))
        while True:
            device_ns, issue_ns, host_bound = self._attempt(before, min(spin_ns, LONGEST_SPIN_NS))
            if not host_bound:
                break
            if spin_ns >= LONGEST_SPIN_NS:
                self._wall_only = True
                return
            self._retaken += 1
            spin_ns *= 2
        self._issues_ns.append(issue_ns)
        self._found[device].append(device_ns)
        if issue is not None:
            self._found[issue].append(issue_ns)

    def _attempt(self, before: Callable[[], object], spin_ns: int) -> tuple[int, int, bool]:
        stream = self._stream
        before()
        stream.spin(spin_ns)
        start = stream.mark()
        issued_from_ns = stream.now_ns()
        self._call()
        issue_ns = stream.now_ns() - issued_from_ns
        end = stream.mark()
        host_bound = stream.passed(start)
        stream.wait()
        return max(1, stream.between_ns(start, end)), max(1, issue_ns), host_bound

    def _wall_ns(self) -> int:
        start_ns = self._stream.now_ns()
        self._call()
        self._stream.wait()
        return max(1, self._stream.now_ns() - start_ns)

    def _works_elsewhere(self) -> bool:
        """Whether the wall time is far more than this stream and the host account for."""
        found = self._found
        if not found["device"]:
            return False
        accounted_ns = statistics.median(found["device"]) + statistics.median(found["issue"])
        return statistics.median(found["wall"]) > 2 * accounted_ns + SHORTEST_SPIN_NS
