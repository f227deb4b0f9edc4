"""The compile cache of a run: empty at the start, shared by all lanes, removed at the end."""

from contextlib import AbstractContextManager
from pathlib import Path

from suite.conditions.temporary import owned_folder


def compile_cache() -> AbstractContextManager[Path]:
    """Return a new cache folder as a context manager, which removes it."""
    return owned_folder("alibi-bench-")
