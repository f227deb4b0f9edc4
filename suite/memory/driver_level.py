"""How far a GPU's memory level rises while a call repeats, as the driver sees it.

The parent polls NVML from a thread: a call that is over in a few milliseconds has to be repeated
for as long as POLL_S, or no poll falls into it.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from suite.conditions.nvml import Absent, MemoryLevel, NvmlGpu

POLL_S = 0.004

_Rise = MemoryLevel | Absent


@contextmanager
def level_rise(gpu: NvmlGpu | Absent, process: int | None = None) -> Iterator[Callable[[], _Rise]]:
    """Poll a GPU's memory level while the block runs; the yielded call returns its rise in bytes.

    It is the level of `process` where the driver tells it, else the whole device's. The rise is
    Absent without a GPU, where no level was read during the block, and where the driver began or
    ceased to tell the process's level: levels of a process and of the device can't be compared.
    """
    if isinstance(gpu, Absent):
        yield lambda: gpu
        return
    before = gpu.memory_level(process)
    levels: list[MemoryLevel | Absent] = []
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(POLL_S):
            levels.append(gpu.memory_level(process))

    poller = threading.Thread(target=poll, daemon=True)
    poller.start()
    try:
        yield lambda: _rise(before, levels)
    finally:
        stop.set()
        poller.join()


def _rise(before: MemoryLevel | Absent, levels: Sequence[MemoryLevel | Absent]) -> _Rise:
    read = [level for level in levels if isinstance(level, MemoryLevel)]
    if isinstance(before, Absent):
        return before
    if not read:
        return next(iter(levels), Absent("NVML: the call was over before its level was read"))
    if any(level.scope != before.scope for level in read):
        return Absent("NVML: it did not tell this process's level before the call and all through")
    return MemoryLevel(
        max(before.bytes, *(level.bytes for level in read)) - before.bytes, before.scope
    )
