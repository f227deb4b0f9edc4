"""The bias as masks for stock SDPA: a row of biases by key, and windows relative to the query.

Masks are made once for the same slopes. Windows that would take over 64 MiB are made at each call.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from variants.problem import Spec
from variants.sdpa.cpu_flash import BURIED, hide_buried
from variants.slopes_cache import cache_by_slopes

STRIP = 256  # the most rows of a window
_WINDOW_BYTES = 1 << 26


class Masks(NamedTuple):
    """The bias of some heads, float32.

    `row` [heads, kv_len + STRIP - 1] is 0 at the last key, falls towards the first and is -inf
    after the last. `near` is the same, but may be -inf at keys that can't matter too. `window`
    [heads, rows, width] is the bias of the last queries to the last keys, made from `near`.
    """

    row: Tensor
    near: Tensor
    window: Tensor

    def for_heads(self, heads: slice) -> "Masks":
        """Return the masks of some of the heads."""
        return Masks(self.row[heads], self.near[heads], self.window[heads])

    @property
    def slopes(self) -> Tensor:
        """Return how much lower each key's bias is than that of the next key: [heads]."""
        end = self.row.shape[1] - STRIP
        return self.row[:, end] - self.row[:, end - 1]

    def spans(self, count: int) -> Tensor:
        """Return how far apart the biases of `count` neighbouring keys are: [heads]."""
        return -self.row[:, self.row.shape[1] - STRIP + 1 - count]

    def before(self, count: int) -> Tensor:
        """Return the bias of `count` keys that end at the query: [heads, count], 0 at the last."""
        end = self.near.shape[1] - STRIP + 1
        return self.near[:, end - count : end]

    def centred(self, count: int) -> Tensor:
        """Return the bias of `count` neighbouring keys, 0 at the middle one: [heads, count].

        With 0 in the middle, scores lose the fewest digits.
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
    """Return a function from slopes [heads] and depth [heads] (variants.windows) to masks.

    Windows of up to `tall` rows and `wide` keys are stored, as far as 64 MiB allow.
    """
    width = min(wide, spec.kv_len, _WINDOW_BYTES // (4 * spec.heads * tall))

    @cache_by_slopes
    def whole_masks(slopes: Tensor) -> Masks:
        row = _falling_bias(slopes, spec.kv_len)
        return Masks(row, row, _relative(row, tall, width))

    @cache_by_slopes
    def cut_masks(slopes: Tensor) -> Masks:
        row = _falling_bias(slopes, spec.kv_len)
        near = hide_buried(row)
        return Masks(row, near, _relative(near, tall, width))

    def masks(slopes: Tensor, depth: Tensor) -> Masks:
        return cut_masks(slopes) if depth.amax() <= BURIED else whole_masks(slopes)

    return masks


def _falling_bias(slopes: Tensor, kv_len: int) -> Tensor:
    """Return minus slope * distance to the last key: [heads, kv_len + STRIP - 1], -inf after it."""
    distance = torch.arange(1 - kv_len, STRIP, device=slopes.device)
    return (slopes[:, None] * distance).masked_fill(distance > 0, -torch.inf)


def _relative(row: Tensor, rows: int, width: int) -> Tensor:
    last = row.shape[1] - STRIP + 1
    shifted = row[:, last - width : last + rows - 1].unfold(1, width, 1)
    return shifted.contiguous().flip(1)  # flip preserves strides; rows must be contiguous
