"""The bias as masks for stock SDPA: a row of keys, and windows relative to the query.

Made once for the same slopes; windows that take too much memory are made for each call.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from variants.problem import Spec
from variants.sdpa.cpu_flash import BURIED, without_buried
from variants.slopes_cache import built_once

STRIP = 256  # rows of a window at most
_KEPT_BYTES = 1 << 26


class Masks(NamedTuple):
    """The bias of some heads, float32.

    `row` [heads, kv_len + STRIP - 1] is 0 at the last key, falls before it and is -inf after it.
    `near` is the same, or -inf too where no key matters. `window` [heads, rows, width] is what
    the last queries make of `near` for the last keys.
    """

    row: Tensor
    near: Tensor
    window: Tensor

    def for_heads(self, heads: slice) -> "Masks":
        """Return the masks of some of the heads."""
        return Masks(self.row[heads], self.near[heads], self.window[heads])

    @property
    def slopes(self) -> Tensor:
        """How much further down each key's bias is than the next one's: [heads]."""
        end = self.row.shape[1] - STRIP
        return self.row[:, end] - self.row[:, end - 1]

    def spans(self, count: int) -> Tensor:
        """Return how far apart the biases of as many keys side by side are: [heads]."""
        return -self.row[:, self.row.shape[1] - STRIP + 1 - count]

    def before(self, count: int) -> Tensor:
        """Return the bias of keys that end at the query: [heads, count], 0 at the last."""
        end = self.near.shape[1] - STRIP + 1
        return self.near[:, end - count : end]

    def centred(self, count: int) -> Tensor:
        """Return the bias of as many keys side by side, moved so that it is 0 at the middle one.

        [heads, count]; scores lose the fewest digits so.
        """
        end = self.row.shape[1] - STRIP + 1
        bias = self.row[:, end - count : end]
        return bias - bias[:, count // 2, None]

    def relative(self, rows: int, width: int) -> Tensor:
        """Return the bias of the last queries to the last keys: [heads, rows, width]."""
        if rows <= self.window.shape[1] and width <= self.window.shape[2]:
            return self.window[:, -rows:, -width:]
        return _relative(self.near, rows, width)


def masks_of(spec: Spec, tall: int, wide: int) -> Callable[[Tensor, Tensor], Masks]:
    """Return a function of slopes [heads] and of the depth below which no bias matters [heads].

    Windows of up to `tall` rows and `wide` keys are kept, as far as 64 MiB allow.
    """
    width = min(wide, spec.kv_len, _KEPT_BYTES // (4 * spec.heads * tall))

    @built_once
    def whole(slopes: Tensor) -> Masks:
        row = _falling(slopes, spec.kv_len)
        return Masks(row, row, _relative(row, tall, width))

    @built_once
    def cut(slopes: Tensor) -> Masks:
        row = _falling(slopes, spec.kv_len)
        near = without_buried(row)
        return Masks(row, near, _relative(near, tall, width))

    def masks(slopes: Tensor, depth: Tensor) -> Masks:
        return cut(slopes) if depth.amax() <= BURIED else whole(slopes)

    return masks


def _falling(slopes: Tensor, kv_len: int) -> Tensor:
    """Return slope * (distance to the last key): [heads, kv_len + STRIP - 1], -inf beyond it."""
    distance = torch.arange(1 - kv_len, STRIP, device=slopes.device)
    return (slopes[:, None] * distance).masked_fill(distance > 0, -torch.inf)


def _relative(row: Tensor, rows: int, width: int) -> Tensor:
    last = row.shape[1] - STRIP + 1
    shifted = row[:, last - width : last + rows - 1].unfold(1, width, 1)
    return shifted.contiguous().flip(1)  # flip keeps strides; rows must be contiguous
