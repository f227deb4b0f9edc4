"""Attention of one band: stock SDPA on views of the keys that the band's queries look back to."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.norms import BLOCK
from variants.problem import Spec
from variants.sdpa_window.bands import Band
from variants.sdpa_window.bias_masks import STRIP, Masks
from variants.sdpa_window.triangles import EXACT, attend_strip, attend_strips, attend_whole_past
from variants.sdpa_window.wide_windows import attend_blocks

# From these widths on `attend_blocks` is faster (benchmarks/windows/window_forms.py).
_WIDE_HALF, _WIDE_FULL = 1024, 24  # blocks back (half precision: times head_dim)


def attend_band(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, band: Band, spec: Spec
) -> None:
    """Write the rows of `out` that belong to the band.

    All tensors hold the band's heads only: q and out are [batch, heads, q_len, head_dim], k and v
    [batch, heads, kv_len, head_dim].
    """
    if spec.q_len < BLOCK:
        first_key = max(0, spec.kv_len - BLOCK * (band.back + 1))
        mask = masks.relative(spec.q_len, spec.kv_len - first_key)
        out[:] = attend_strip(q, k[:, :, first_key:], v[:, :, first_key:], mask, spec)
        return
    offset, front = spec.kv_len - spec.q_len, spec.q_len % BLOCK
    before = (offset + front) // BLOCK  # whole blocks of keys before the first block of queries
    first = front + BLOCK * band.first_block if band.first_block else 0
    fit = front + BLOCK * min(band.last_block, max(band.first_block, band.back - before))
    last = front + BLOCK * band.last_block
    whole_past = attend_strips if first or offset else attend_whole_past
    if whole_past is attend_whole_past and last - fit <= STRIP:
        fit = last
    if first < fit:
        rows, keys = slice(first, fit), slice(0, offset + fit)
        whole_past(q[:, :, rows], k[:, :, keys], v[:, :, keys], masks, out[:, :, rows], spec)
    is_wide, tall = _form(band.back, masks, spec)
    rest = fit + (last - fit) % tall
    for start, stop, height in ((fit, rest, rest - fit), (rest, last, tall)):
        if start < stop:
            rows = slice(start, stop)
            keys = slice(offset + start - BLOCK * band.back, offset + stop)
            arguments = q[:, :, rows], k[:, :, keys], v[:, :, keys], masks, out[:, :, rows], height
            (attend_blocks if is_wide else _windows)(*arguments, spec.scale)


def _form(back: int, masks: Masks, spec: Spec) -> tuple[bool, int]:
    """Return whether `attend_blocks` computes the windows, and how many queries share a window."""
    if spec.dtype != torch.float32:
        width = back * spec.head_dim // _WIDE_HALF
        if width and not spec.needs_grad:
            return True, STRIP * min(width, 3)
        return False, STRIP if back >= 3 else 2 * BLOCK
    if back < _WIDE_FULL or spec.needs_grad:
        return False, BLOCK
    heights = (3 * STRIP, 2 * STRIP, STRIP) if back >= 2 * _WIDE_FULL else (STRIP,)
    exact = [height for height in heights if masks.spans(height).amax() <= EXACT]
    return (True, exact[0]) if exact else (False, BLOCK)


def _windows(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, height: int, scale: float
) -> None:
    """Write the attention of windows, each of `height` queries and all of the same number of keys.

    A window's keys end with its last query.
    """
    width = k.shape[2] - q.shape[2] + height
    mask = masks.relative(height, width)
    q, out = (torch.unflatten(rows, 2, (-1, height)) for rows in (q, out))
    k, v = (keys.unfold(2, width, height).mT for keys in (k, v))
    # SDPA takes two batch dimensions: one is the blocks, the other the larger of batch and heads.
    if q.shape[0] <= q.shape[1]:
        q, k, v, out = (part.transpose(1, 2) for part in (q, k, v, out))
        call_masks = mask.expand(q.shape[0], *mask.shape)
    else:
        q, k, v, out = (part.transpose(0, 1) for part in (q, k, v, out))
        call_masks = mask[:, None]
    for index, call_mask in enumerate(call_masks):
        out[index] = scaled_dot_product_attention(
            q[index], k[index], v[index], attn_mask=call_mask[None], scale=scale
        )
