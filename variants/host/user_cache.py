"""Where a user's own files are kept that can be made again: selections, built kernels."""

import os
from pathlib import Path


def user_cache() -> Path:
    """Return the folder, which may not be there yet. Raises RuntimeError where there is no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alibi-bench"
