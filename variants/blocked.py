"""Attention of wide windows: squares on the diagonal, and the keys before them by a row of biases.

A window with a bias of its own for every row is slow where it is wide: torch's kernel packs its
keys anew for each window, so a window of few rows pays more for that than for its products, and
the biases of many rows fit no cache. So blocks of many rows are two calls each, merged.
"""

from torch import Tensor

from variants.flash import attend, cut, merge
from variants.masks import Masks


def attend_blocks(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, height: int, scale: float
) -> None:
    """Write the attention of every `height` queries to their own keys and to those before them.

    q and out are [batch, heads, rows, head_dim], k and v [batch, heads, before + rows, head_dim].
    """
    parts, before = q.shape[2] // height, k.shape[2] - q.shape[2]
    own_mask, far_mask = (
        row[None, :, None].expand(parts, -1, height, -1)
        for row in (masks.centred(height), masks.before(before))
    )
    # Own scores are moved by slope * (query - middle), far ones by slope * (query + 1).
    apart = masks.centred(height)[:, 0] - masks.slopes
    for one in range(len(q)):
        queries, into = (cut(rows[one], height) for rows in (q, out))
        own_parts = [queries, *(cut(keys[one, :, before:], height) for keys in (k, v))]
        far_parts = [queries, *(_before(keys[one], before, height, parts) for keys in (k, v))]
        own, own_lse = attend(own_parts, own_mask, scale, is_causal=True)
        far, far_lse = attend(far_parts, far_mask, scale, is_causal=False)
        merge(own, far, own_lse - far_lse - apart, out=into.transpose(1, 2))


def _before(keys: Tensor, before: int, height: int, parts: int) -> Tensor:
    """Return the keys before each part: [parts, heads, before, head_dim]."""
    return keys.unfold(1, before, height).mT.transpose(0, 1)[:parts]
