"""The user's cache folder, for files that can be made again: selections and compiled kernels."""

import os
from pathlib import Path


def user_cache() -> Path:
    """Return the folder, which may not exist yet.

    Raises RuntimeError where the user has no home directory.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alibi-bench"
