"""How far a GPU's memory level rises while a call repeats, as the driver sees it.

The parent polls NVML from a thread: a call that is over in a few milliseconds has to be repeated
for as long as POLL_S, or no poll falls into it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from suite.conditions.nvml import Absent, MemoryLevel, NvmlGpu

POLL_S = 0.004


@contextmanager
def level_rise(
    gpu: NvmlGpu | Absent, process: int | None = None
) -> Iterator[Callable[[], MemoryLevel | Absent]]:
    """Poll a GPU's memory level while the block runs; the yielded call returns its rise in bytes.

    It is the level of `process` where the driver tells it, else the whole device's. Without a GPU
    its absence is returned.
    """
    if isinstance(gpu, Absent):
        yield lambda: gpu
        return
    before = gpu.memory_level(process)
    highest = before
    stop = threading.Event()

    def poll() -> None:
        nonlocal highest
        while not stop.wait(POLL_S):
            highest = _higher(highest, gpu.memory_level(process))

    def rise() -> MemoryLevel | Absent:
        if isinstance(before, Absent) or isinstance(highest, Absent):
            return before
        return MemoryLevel(highest.bytes - before.bytes, highest.scope)

    poller = threading.Thread(target=poll, daemon=True)
    poller.start()
    try:
        yield rise
    finally:
        stop.set()
        poller.join()


def _higher(highest: MemoryLevel | Absent, level: MemoryLevel | Absent) -> MemoryLevel | Absent:
    """Return the higher of two levels; one of another scope can't be compared and is ignored."""
    if isinstance(highest, Absent) or isinstance(level, Absent) or level.scope != highest.scope:
        return highest
    return max(highest, level, key=lambda memory: memory.bytes)
