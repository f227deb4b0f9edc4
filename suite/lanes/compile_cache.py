"""The compile cache of a run: empty at the start, shared by all lanes, removed at the end."""

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
    """Yield a new cache folder and remove it afterwards; remove those of killed runs first."""
    folder = Path(tempfile.gettempdir())
    for cache in folder.glob(f"{_PREFIX}*"):
        owner = re.match(rf"{_PREFIX}(\d+)-", cache.name)
        if owner and not Path("/proc", owner[1]).exists():
            shutil.rmtree(cache, ignore_errors=True)
    cache = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=folder))
    try:
        yield cache
    finally:
        shutil.rmtree(cache, ignore_errors=True)
