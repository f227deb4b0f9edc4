"""A compile cache for one run: empty at its start, shared by its lanes, gone at its end."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "alibi-bench-"


@contextmanager
def compile_cache() -> Iterator[Path]:
    """Make the run's cache folder; remove it afterwards, and any that a killed run left behind."""
    folder = Path(tempfile.gettempdir())
    for left_behind in folder.glob(f"{_PREFIX}*"):
        owner = re.match(rf"{_PREFIX}(\d+)-", left_behind.name)
        if owner and not Path("/proc", owner[1]).exists():
            shutil.rmtree(left_behind, ignore_errors=True)
    cache = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=folder))
    try:
        yield cache
    finally:
        shutil.rmtree(cache, ignore_errors=True)
