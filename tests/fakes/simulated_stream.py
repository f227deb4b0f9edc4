"""A device and its host, simulated: a queue, two clocks, and what each operation takes on them."""

from collections.abc import Callable
from dataclasses import dataclass

LAUNCH_NS = 4_000
FLUSH_NS = 110_000
QUERY_NS = 1_000


@dataclass
class SimulatedStream:
    """Implements suite.clocks.cuda_clock.Stream; the host's clock moves only as work is queued."""

    host_ns: int = 0
    device_ns: int = 0
    cold: bool = False

    def now_ns(self) -> int:
        return self.host_ns

    def launch(self, duration_ns: int) -> None:
        """Queue a kernel of so long."""
        self.host_ns += LAUNCH_NS
        self.device_ns = max(self.device_ns, self.host_ns) + duration_ns

    def flush(self) -> None:
        self.launch(FLUSH_NS)
        self.cold = True

    def spin(self, duration_ns: int) -> None:
        self.launch(duration_ns)

    def mark(self) -> int:
        self.host_ns += QUERY_NS
        return max(self.device_ns, self.host_ns)

    def has_passed(self, mark: int) -> bool:
        self.host_ns += QUERY_NS
        return self.host_ns >= mark

    def between_ns(self, start: int, end: int) -> int:
        return end - start

    def wait(self) -> None:
        self.host_ns = max(self.host_ns, self.device_ns) + QUERY_NS

    def kernels(
        self, count: int, cold_ns: int, hot_ns: int, host_ns: int = 0
    ) -> Callable[[], None]:
        """Return a call of so many kernels, each after so much work of the host."""

        def call() -> None:
            for _ in range(count):
                self.host_ns += host_ns
                self.launch(cold_ns if self.cold else hot_ns)
            self.cold = False

        return call
