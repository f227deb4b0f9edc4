"""Attention of one band: stock SDPA on views of the keys that its queries look back to."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.bands import Band
from variants.problem import Spec
from variants.windows import BLOCK

_STRIP = 256  # queries of one call that see all keys before them
_FAR = 8  # blocks back from which on two blocks of half precision share a window
_EXACT = 64.0  # float32 scores lose digits where the bias of a key row spans more


def falling_bias(slopes: Tensor, kv_len: int) -> Tensor:
    """Return slope * (distance to the last key): [heads, kv_len + 255], -inf beyond that key."""
    distance = torch.arange(1 - kv_len, _STRIP, device=slopes.device)
    return (slopes[:, None] * distance).masked_fill(distance > 0, float("-inf"))


def attend_band(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, near: Tensor, out: Tensor, band: Band, spec: Spec
) -> None:
    """Write the band's rows of `out`.

    All are of the band's heads: q and out [batch, heads, q_len, head_dim], k and v [batch, heads,
    kv_len, head_dim], bias as falling_bias returns it, and near the same with -inf where a key is
    too far from its query to matter.
    """
    if spec.q_len < BLOCK:
        first_key = max(0, spec.kv_len - BLOCK * (band.back + 1))
        mask = _relative(near, spec.q_len, spec.kv_len - first_key, spec)
        out[:] = _strip(q, k[:, :, first_key:], v[:, :, first_key:], mask, spec)
        return
    offset, front = spec.kv_len - spec.q_len, spec.q_len % BLOCK
    before = (offset + front) // BLOCK  # whole blocks of keys before the first block of queries
    first = front + BLOCK * band.first_block if band.first_block else 0
    fit = front + BLOCK * min(band.last_block, max(band.first_block, band.back - before))
    if first == offset == 0 < fit and _is_exact(bias, fit, q.dtype):
        out[:, :, :fit] = _square(q[:, :, :fit], k[:, :, :fit], v[:, :, :fit], bias, spec)
    elif first < fit:
        mask = _relative(near, min(_STRIP, fit - first), offset + fit, spec)
        for row in range(first, fit, _STRIP):
            rows, seen = slice(row, min(row + _STRIP, fit)), offset + min(row + _STRIP, fit)
            out[:, :, rows] = _strip(q[:, :, rows], k[:, :, :seen], v[:, :, :seen], mask, spec)
    last, tall = front + BLOCK * band.last_block, _tall(band.back, q.dtype)
    rest = fit + (last - fit) % tall
    for start, stop, height in ((fit, rest, rest - fit), (rest, last, tall)):
        if start < stop:
            rows = slice(start, stop)
            keys = slice(offset + start - BLOCK * band.back, offset + stop)
            own = q[:, :, rows], k[:, :, keys], v[:, :, keys]
            _windows(*own, near, out[:, :, rows], height, spec)


def _tall(back: int, dtype: torch.dtype) -> int:
    """Return how many queries share a window: in half precision more rows fill tiles better."""
    return 2 * BLOCK if back >= _FAR and dtype != torch.float32 else BLOCK


def _is_exact(bias: Tensor, length: int, dtype: torch.dtype) -> bool:
    return dtype != torch.float32 or bias[:, -_STRIP + 1 - length].amin().item() >= -_EXACT


def _square(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, spec: Spec) -> Tensor:
    """Return the first queries' attention by a row of biases, anchored at the middle key."""
    row = bias[:, spec.kv_len - q.shape[2] : spec.kv_len]
    row = row - row[:, q.shape[2] // 2, None]
    mask = row[None, :, None].expand(*q.shape[:3], -1)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=True, scale=spec.scale)


def _strip(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, spec: Spec) -> Tensor:
    own = mask[None, :, -q.shape[2] :, -k.shape[2] :]  # a 3-D mask leaves the flash kernel
    return scaled_dot_product_attention(q, k, v, attn_mask=own, scale=spec.scale)


def _windows(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, out: Tensor, height: int, spec: Spec
) -> None:
    """Write the attention of every `height` queries to the same number of keys up to their end."""
    width = k.shape[2] - q.shape[2] + height
    mask = _relative(bias, height, width, spec)
    q, out = (torch.unflatten(rows, 2, (-1, height)) for rows in (q, out))
    k, v = (keys.unfold(2, width, height).mT for keys in (k, v))
    # Of batch, heads and blocks a call takes two: all blocks, and the more of the other two.
    if q.shape[0] <= q.shape[1]:
        q, k, v, out = (part.transpose(1, 2) for part in (q, k, v, out))
        masks = mask.expand(q.shape[0], *mask.shape)
    else:
        q, k, v, out = (part.transpose(0, 1) for part in (q, k, v, out))
        masks = mask[:, None]
    for one, own in enumerate(masks):
        out[one] = scaled_dot_product_attention(
            q[one], k[one], v[one], attn_mask=own[None], scale=spec.scale
        )


def _relative(bias: Tensor, rows: int, width: int, spec: Spec) -> Tensor:
    """Return the bias of the last `rows` queries to the last `width` keys: [heads, rows, width]."""
    shifted = bias[:, spec.kv_len - width : spec.kv_len + rows - 1].unfold(1, width, 1)
    return shifted.contiguous().flip(1)  # flip keeps strides; rows must be contiguous
