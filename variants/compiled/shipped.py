"""Libraries that came with the wheel, for some levels of x86-64. A checkout has none."""

import ctypes
import logging
from collections.abc import Callable
from pathlib import Path

from variants.compiled.flags import LEVELS, place
from variants.host.hardware import cpu_flags

_LOG = logging.getLogger("alibi_bench")


def shipped_library(
    source: Path, check: Callable[[ctypes.CDLL], None], cpuinfo: Path = Path("/proc/cpuinfo")
) -> ctypes.CDLL | None:
    """Return the best library of `source` that this processor runs, loaded and checked.

    None where none came for it, where it does not load (under another C library, say), or where
    `check` raises RuntimeError. Then variants.compiled.cpp_build builds one.
    """
    features = cpu_flags(cpuinfo)
    for level in LEVELS:
        file = place(source, level)
        if level.features <= features and file.exists():
            try:
                library = ctypes.CDLL(str(file))
                check(library)
            except (OSError, AttributeError, RuntimeError) as error:
                _LOG.warning("%s can't be used, so it is built here: %s", file.name, error)
                return None
            return library
    return None
