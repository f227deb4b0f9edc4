"""Attention of one band: stock SDPA on views of the keys that its queries look back to."""

from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.bands import Band
from variants.blocked import attend_blocks
from variants.masks import STRIP, Masks
from variants.problem import Spec
from variants.windows import BLOCK

_EXACT = 32.0  # float32 scores lose digits where the bias of a key row spans more
_WIDE_HALF, _WIDE_FULL = 1024, 24  # blocks back (times head_dim) from which on blocks are faster


def attend_band(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, band: Band, spec: Spec
) -> None:
    """Write the band's rows of `out`.

    All are of the band's heads: q and out [batch, heads, q_len, head_dim], k and v [batch, heads,
    kv_len, head_dim].
    """
    if spec.q_len < BLOCK:
        first_key = max(0, spec.kv_len - BLOCK * (band.back + 1))
        mask = masks.relative(spec.q_len, spec.kv_len - first_key)
        out[:] = _strip(q, k[:, :, first_key:], v[:, :, first_key:], mask, spec)
        return
    offset, front = spec.kv_len - spec.q_len, spec.q_len % BLOCK
    before = (offset + front) // BLOCK  # whole blocks of keys before the first block of queries
    first = front + BLOCK * band.first_block if band.first_block else 0
    fit = front + BLOCK * min(band.last_block, max(band.first_block, band.back - before))
    if first == offset == 0:
        if front + BLOCK * band.last_block - fit <= STRIP:
            fit = front + BLOCK * band.last_block
        _whole_past(q, k, v, masks, out, fit, spec)
    else:
        _strips(q, k, v, masks, out, slice(first, fit), spec)
    last = front + BLOCK * band.last_block
    is_wide, tall = _form(band.back, masks, spec)
    rest = fit + (last - fit) % tall
    for start, stop, height in ((fit, rest, rest - fit), (rest, last, tall)):
        if start < stop:
            rows = slice(start, stop)
            keys = slice(offset + start - BLOCK * band.back, offset + stop)
            own = q[:, :, rows], k[:, :, keys], v[:, :, keys], masks, out[:, :, rows], height
            (attend_blocks if is_wide else _windows)(*own, spec.scale)


def _form(back: int, masks: Masks, spec: Spec) -> tuple[bool, int]:
    """Return whether windows go in blocks, and how many queries share one."""
    if spec.dtype != torch.float32:
        width = back * spec.head_dim // _WIDE_HALF
        if width and not spec.needs_grad:
            return True, STRIP * min(width, 3)
        return False, STRIP if back >= 3 else 2 * BLOCK
    height = STRIP * (3 if back >= 2 * _WIDE_FULL else 1)
    if back < _WIDE_FULL or spec.needs_grad or masks.spans(height).amax() > _EXACT:
        return False, BLOCK
    return True, height


def _whole_past(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, fit: int, spec: Spec
) -> None:
    """Write the first `fit` rows, which see all keys before them: squares where those are exact."""
    spans = masks.spans(fit).tolist()
    exact = [q.dtype != torch.float32 or span <= _EXACT for span in spans]
    for is_exact, run in groupby(range(len(spans)), key=exact.__getitem__):
        heads = [*run]
        own = slice(heads[0], heads[-1] + 1)
        if is_exact and fit:
            first = slice(0, fit)
            parts = q[:, own, first], k[:, own, first], v[:, own, first]
            out[:, own, first] = _square(*parts, masks.of(own), spec)
        else:
            parts = q[:, own], k[:, own], v[:, own]
            _strips(*parts, masks.of(own), out[:, own], slice(0, fit), spec)


def _strips(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, rows: slice, spec: Spec
) -> None:
    """Write rows that see all keys before them, some at a time."""
    offset = spec.kv_len - spec.q_len
    if rows.start >= rows.stop:
        return
    height = BLOCK if q.dtype == torch.float32 else STRIP
    mask = masks.relative(min(height, rows.stop - rows.start), offset + rows.stop)
    for row in range(rows.start, rows.stop, height):
        last = min(row + height, rows.stop)
        own, seen = slice(row, last), offset + last
        out[:, :, own] = _strip(q[:, :, own], k[:, :, :seen], v[:, :, :seen], mask, spec)


def _square(q: Tensor, k: Tensor, v: Tensor, masks: Masks, spec: Spec) -> Tensor:
    """Return the first queries' attention by a row of biases, anchored at the middle key."""
    mask = masks.centred(q.shape[2])[None, :, None].expand(*q.shape[:3], -1)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=True, scale=spec.scale)


def _strip(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, spec: Spec) -> Tensor:
    own = mask[None, :, -q.shape[2] :, -k.shape[2] :]  # a 3-D mask leaves the flash kernel
    return scaled_dot_product_attention(q, k, v, attn_mask=own, scale=spec.scale)


def _windows(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, height: int, scale: float
) -> None:
    """Write the attention of every `height` queries to the same number of keys up to their end."""
    width = k.shape[2] - q.shape[2] + height
    mask = masks.relative(height, width)
    q, out = (torch.unflatten(rows, 2, (-1, height)) for rows in (q, out))
    k, v = (keys.unfold(2, width, height).mT for keys in (k, v))
    # Of batch, heads and blocks a call takes two: all blocks, and the more of the other two.
    if q.shape[0] <= q.shape[1]:
        q, k, v, out = (part.transpose(1, 2) for part in (q, k, v, out))
        by_call = mask.expand(q.shape[0], *mask.shape)
    else:
        q, k, v, out = (part.transpose(0, 1) for part in (q, k, v, out))
        by_call = mask[:, None]
    for one, own in enumerate(by_call):
        out[one] = scaled_dot_product_attention(
            q[one], k[one], v[one], attn_mask=own[None], scale=scale
        )
