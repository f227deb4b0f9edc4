"""Attention of the first queries, which see every key before them, by the way that is exact.

A square by a row of biases is fastest. In float32 its scores lose digits where the row spans much,
so such heads go in halves or in strips.
"""

from collections.abc import Callable
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.blocked import attend_halves
from variants.masks import STRIP, Masks
from variants.problem import Spec
from variants.windows import BLOCK

EXACT = 20.0  # float32 scores lose digits where the bias of a key row spans more
_EXACT_TRAINED = 32.0  # bears less for speed: halves have no gradient, and strips cost far more

_Way = Callable[[Tensor, Tensor, Tensor, Masks, Tensor, Spec], None]


def attend_whole_past(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, spec: Spec
) -> None:
    """Write the attention of as many queries as keys.

    All are of the same heads: [batch, heads, rows, head_dim].
    """
    ways = _ways(masks.spans(q.shape[2]).tolist(), spec)
    for way, run in groupby(range(len(ways)), key=ways.__getitem__):
        heads = [*run]
        own = slice(heads[0], heads[-1] + 1)
        way(q[:, own], k[:, own], v[:, own], masks.of(own), out[:, own], spec)


def attend_strips(q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, spec: Spec) -> None:
    """Write the attention of queries that are the last of the keys and see all, some at a time."""
    rows, offset = q.shape[2], k.shape[2] - q.shape[2]
    height = min(rows, BLOCK if spec.dtype == torch.float32 else STRIP)
    mask = masks.relative(height, k.shape[2])
    for row in range(0, rows, height):
        own, seen = slice(row, row + height), min(offset + row + height, k.shape[2])
        out[:, :, own] = attend_strip(q[:, :, own], k[:, :, :seen], v[:, :, :seen], mask, spec)


def attend_strip(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, spec: Spec) -> Tensor:
    """Return the attention of the last queries, by the last of a mask's rows and keys."""
    own = mask[None, :, -q.shape[2] :, -k.shape[2] :]  # a 3-D mask leaves the flash kernel
    return scaled_dot_product_attention(q, k, v, attn_mask=own, scale=spec.scale)


def _ways(spans: list[float], spec: Spec) -> list[_Way]:
    """Return how each head is computed, whose biases are as far apart as `spans` says."""
    if spec.dtype != torch.float32:
        return [_square] * len(spans)
    if spec.needs_grad:
        return [_square if span <= _EXACT_TRAINED else attend_strips for span in spans]
    ways = [_way(span) for span in spans]
    squares = [head for head, way in enumerate(ways) if way is _square]
    for head in squares[: len(squares) % torch.get_num_threads()]:
        ways[head] = _halves  # which threads share evenly
    return ways


def _way(span: float) -> _Way:
    if span > 2 * EXACT:
        return attend_strips
    return _halves if span > EXACT else _square


def _halves(q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, spec: Spec) -> None:
    attend_halves(q, k, v, masks, out, spec.scale)


def _square(q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, spec: Spec) -> None:
    """Write attention by a row of biases, anchored at the middle key."""
    mask = masks.centred(q.shape[2])[None, :, None].expand(*q.shape[:3], -1)
    out[:] = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=True, scale=spec.scale)
