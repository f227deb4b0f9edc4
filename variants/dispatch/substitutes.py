"""The variants that took a call in the place of the first that `auto` tried, and why."""

import logging
from threading import Lock

from variants.problem import Spec

AT_MOST = 128

_LOCK = Lock()
_LOG = logging.getLogger("alibi_bench")
_last_variants: dict[Spec, str] = {}
_past_warnings: set[tuple[str, str]] = set()


def last_variant(spec: Spec) -> str | None:
    """Return the variant that took the last call for a spec; None if that is not noted."""
    return _last_variants.get(spec)


def note(spec: Spec, name: str | None) -> None:
    """Note the variant that took the last call for a spec, for the last 128 specs; None forgets."""
    with _LOCK:
        _last_variants.pop(spec, None)
        if name is not None:
            _last_variants[spec] = name
        while len(_last_variants) > AT_MOST:
            del _last_variants[next(iter(_last_variants))]


def log_once(name: str, reason: str) -> None:
    """Log that a variant declined and for which reason, each reason once a process."""
    with _LOCK:
        if (name, reason) in _past_warnings:
            return
        _past_warnings.add((name, reason))
    _LOG.warning("auto passes %s over, which declines: %s", name, reason)
