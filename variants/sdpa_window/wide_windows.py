"""Attention of wide windows and of triangles: squares, and keys before them by a row of biases.

A window with a bias of its own for every row is slow where it is wide: torch's kernel packs its
keys anew for each window, so a window of few rows pays more for that than for its products, and
the biases of many rows fit no cache. So blocks of many rows are two calls each, merged.
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
    own_mask, far_mask, apart = _biases(masks, height, before, parts)
    for one in range(len(q)):
        queries, into = (cut(rows[one], height) for rows in (q, out))
        own_parts = [queries, *(cut(keys[one, :, before:], height) for keys in (k, v))]
        far_parts = [queries, *(_before(keys[one], before, height, parts) for keys in (k, v))]
        own, own_lse = attend(own_parts, own_mask, scale, is_causal=True)
        far, far_lse = attend(far_parts, far_mask, scale, is_causal=False)
        merge(own, far, own_lse - far_lse - apart, out=into.transpose(1, 2))


def attend_halves(q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, scale: float) -> None:
    """Write causal attention as two squares in one call, and what the second sees of the first.

    Tensors are [batch, heads, rows, head_dim], of 2 rows at least. A row of biases spans half of
    what it spans in a square of all rows, and two threads share two squares of one head evenly.
    Where rows are odd, the middle one is in both halves.
    """
    rows = q.shape[2]
    height, before = rows - rows // 2, rows // 2
    own_mask, far_mask, apart = _biases(masks, height, before, 2)
    for one in range(len(q)):
        halves = [tensor[one].unfold(1, height, before).mT.transpose(0, 1) for tensor in (q, k, v)]
        own, own_lse = attend(halves, own_mask, scale, is_causal=True)
        far_parts = [halves[0][1:], k[one : one + 1, :, :before], v[one : one + 1, :, :before]]
        far, far_lse = attend(far_parts, far_mask[1:], scale, is_causal=False)
        first, second = (out[one, :, begin : begin + height] for begin in (0, before))
        merge(own[1], far[0], own_lse[1] - far_lse[0] - apart, out=second.transpose(0, 1))
        first.copy_(own[0].transpose(0, 1))


def _biases(masks: Masks, height: int, before: int, parts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return masks of own and of far keys, and by how much more own scores than far are moved."""
    own_mask, far_mask = (
        row[None, :, None].expand(parts, -1, height, -1)
        for row in (masks.centred(height), masks.before(before))
    )
    # Own scores are moved by slope * (query - middle), far ones by slope * (query + 1).
    return own_mask, far_mask, masks.centred(height)[:, 0] - masks.slopes


def _before(keys: Tensor, before: int, height: int, parts: int) -> Tensor:
    """Return the keys before each part: [parts, heads, before, head_dim]."""
    return keys.unfold(1, before, height).mT.transpose(0, 1)[:parts]
