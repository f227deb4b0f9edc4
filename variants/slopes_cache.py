"""Keep what is built from the slopes for as long as the same slopes are handed in."""

import weakref
from collections.abc import Callable

from torch import Tensor


def built_once(build: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return `build` that runs again only for other slopes.

    Other means another tensor, or the same one written to since. Slopes that want a gradient are
    never kept: what is built from them belongs to one graph.
    """
    of: weakref.ref[Tensor] | None = None
    version = -1
    kept: Tensor | None = None

    def built(slopes: Tensor) -> Tensor:
        nonlocal of, version, kept
        if slopes.requires_grad:
            return build(slopes)
        if kept is None or of is None or of() is not slopes or version != slopes._version:
            of, version, kept = weakref.ref(slopes), slopes._version, build(slopes)
        return kept

    return built
