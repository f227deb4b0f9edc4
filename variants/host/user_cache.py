"""The user's cache folder, for files that can be made again: selections and compiled kernels."""

import os
from pathlib import Path


def user_cache() -> Path:
    """Return the folder, which may not exist yet.

    An XDG_CACHE_HOME that is no absolute path is ignored, as its specification says: code would be
    loaded from whatever folder a process works in. Raises RuntimeError where the user has no home
    directory.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "alibi-bench"
