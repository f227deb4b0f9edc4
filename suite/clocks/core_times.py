"""How long a process's threads ran and waited for a core, as the kernel counts it."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TASKS = Path("/proc/self/task")


class CoreTimes(NamedTuple):
    """How long living threads have run, and have been ready without a core to run on."""

    run_ns: int
    wait_ns: int


def runnable_threads(tasks: Path) -> int:
    """Return how many of a process's threads run or wait for a core now, the caller's left out."""
    count = 0
    with suppress(OSError):
        for thread in tasks.iterdir():
            if thread.name == str(threading.get_native_id()):
                continue
            with suppress(OSError, IndexError):
                state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
                count += state == "R"
    return count


def core_times(tasks: Path = _TASKS) -> CoreTimes:
    """Return the sums over a process's living threads.

    They are the first two figures of each thread's /proc/self/task/*/schedstat. A kernel without
    that file gives 0.
    """
    run_ns = wait_ns = 0
    with suppress(OSError):
        for thread in tasks.iterdir():
            with suppress(OSError, IndexError, ValueError):
                figures = (thread / "schedstat").read_text().split()
                run_ns, wait_ns = run_ns + int(figures[0]), wait_ns + int(figures[1])
    return CoreTimes(run_ns, wait_ns)
