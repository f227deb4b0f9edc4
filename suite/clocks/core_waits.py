"""How long this process's threads were kept from a core by others: the kernel's own count."""

from contextlib import suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


def waited_ns(tasks: Path = _TASKS) -> int:
    """Return the nanoseconds that living threads have spent ready to run, with no core to run on.

    It is the second figure of each thread's schedstat; 0 where the kernel keeps none.
    """
    total = 0
    for thread in tasks.iterdir() if tasks.exists() else ():
        with suppress(OSError, IndexError, ValueError):
            total += int((thread / "schedstat").read_text().split()[1])
    return total
