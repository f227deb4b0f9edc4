"""How long this process's threads waited for a core, as the kernel counts it."""

from contextlib import suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


def core_wait_ns(tasks: Path = _TASKS) -> int:
    """Return the nanoseconds that living threads have been ready to run without a core to run on.

    It sums the second figure of each thread's /proc/self/task/*/schedstat. A kernel without that
    file gives 0.
    """
    total = 0
    for thread in tasks.iterdir() if tasks.exists() else ():
        with suppress(OSError, IndexError, ValueError):
            total += int((thread / "schedstat").read_text().split()[1])
    return total
