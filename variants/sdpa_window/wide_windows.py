"""Attention of wide windows and triangles: squares, and the keys before them, by rows of biases.

A window whose mask has another bias in every row is slow where it is wide. torch's kernel packs the
keys anew for each window, so a window of few rows spends more on packing than on its products; and
the biases of many rows don't fit in a cache. So a block of many rows takes two calls, merged.
"""

from torch import Tensor

from variants.sdpa.cpu_flash import attend, cut, merge
from variants.sdpa_window.bias_masks import Masks


def attend_blocks(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, height: int, scale: float
) -> None:
    """Write the attention of every `height` queries to their own keys and to those before them.

    q and out are [batch, heads, rows, head_dim], k and v [batch, heads, before + rows, head_dim].
    """
    parts, before = q.shape[2] // height, k.shape[2] - q.shape[2]
    near_mask, far_mask, apart = _biases(masks, height, before, parts)
    for index in range(len(q)):
        queries, into = (cut(rows[index], height) for rows in (q, out))
        near_parts = [queries, *(cut(keys[index, :, before:], height) for keys in (k, v))]
        far_parts = [queries, *(_before(keys[index], before, height, parts) for keys in (k, v))]
        near, near_lse = attend(near_parts, near_mask, scale, is_causal=True)
        far, far_lse = attend(far_parts, far_mask, scale, is_causal=False)
        merge(near, far, near_lse - far_lse - apart, out=into.transpose(1, 2))


def attend_halves(q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, scale: float) -> None:
    """Write causal attention as two squares in one call, and the rectangle of the second half.

    Tensors are [batch, heads, rows, head_dim], with 2 rows or more. A row of biases spans half of
    what it would span in one square of all rows, and two threads share a head evenly, a square
    each. If the number of rows is odd, the middle row is in both halves.
    """
    rows = q.shape[2]
    height, before = rows - rows // 2, rows // 2
    near_mask, far_mask, apart = _biases(masks, height, before, 2)
    for index in range(len(q)):
        halves = [
            tensor[index].unfold(1, height, before).mT.transpose(0, 1) for tensor in (q, k, v)
        ]
        near, near_lse = attend(halves, near_mask, scale, is_causal=True)
        far_parts = [
            halves[0][1:],
            k[index : index + 1, :, :before],
            v[index : index + 1, :, :before],
        ]
        far, far_lse = attend(far_parts, far_mask[1:], scale, is_causal=False)
        first, second = (out[index, :, begin : begin + height] for begin in (0, before))
        merge(near[1], far[0], near_lse[1] - far_lse[0] - apart, out=second.transpose(0, 1))
        first.copy_(near[0].transpose(0, 1))


def _biases(masks: Masks, height: int, before: int, parts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return masks of near and far keys, and how much further up near scores are moved: [heads]."""
    near_mask, far_mask = (
        row[None, :, None].expand(parts, -1, height, -1)
        for row in (masks.centred(height), masks.before(before))
    )
    # Near scores are moved by slope * (query - middle), far scores by slope * (query + 1).
    return near_mask, far_mask, masks.centred(height)[:, 0] - masks.slopes


def _before(keys: Tensor, before: int, height: int, parts: int) -> Tensor:
    """Return the keys before each part: [parts, heads, before, head_dim]."""
    return keys.unfold(1, before, height).mT.transpose(0, 1)[:parts]
