"""Attention of queries that see every key before them, each head by a way that keeps its digits.

A square with one row of biases is fastest. In float32 its scores lose digits where the row spans
much. Without gradients such heads are computed as two merged halves; where even a half spans too
much, and in training, as strips.
"""

from collections.abc import Callable
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.norms import BLOCK
from variants.problem import Spec
from variants.sdpa.cpu_flash import attend_causally
from variants.sdpa_window.bias_masks import STRIP, Masks
from variants.sdpa_window.wide_windows import attend_halves

EXACT = 20.0  # float32 scores lose digits where a row of biases spans more
_EXACT_TRAINED = 32.0  # looser in training: halves have no gradient, strips are slow
_ROWS_TO_SHARE = 1024  # rows; from here on two more calls cost less than an idle thread

_Way = Callable[[Tensor, Tensor, Tensor, Masks, Tensor, Spec], None]


def attend_whole_past(
    q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, spec: Spec
) -> None:
    """Write the attention of as many queries as keys.

    All tensors are [batch, heads, rows, head_dim], of the same heads.
    """
    ways = _ways(masks.spans(q.shape[2]).tolist(), q.shape[2], spec)
    for run in _runs(ways):
        heads = slice(run[0], run[-1] + 1)
        ways[run[0]](
            q[:, heads], k[:, heads], v[:, heads], masks.for_heads(heads), out[:, heads], spec
        )


def attend_strips(q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, spec: Spec) -> None:
    """Write the attention of queries that end with the keys and see all before them, in strips."""
    rows, offset = q.shape[2], k.shape[2] - q.shape[2]
    height = min(rows, BLOCK if spec.dtype == torch.float32 else STRIP)
    mask = masks.relative(height, k.shape[2])
    for row in range(0, rows, height):
        strip, visible = slice(row, row + height), min(offset + row + height, k.shape[2])
        out[:, :, strip] = attend_strip(
            q[:, :, strip], k[:, :, :visible], v[:, :, :visible], mask, spec
        )


def attend_strip(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, spec: Spec) -> Tensor:
    """Return the attention of the last queries; the mask's last rows and keys are theirs."""
    strip_mask = mask[None, :, -q.shape[2] :, -k.shape[2] :]  # flash takes no 3-D mask
    return scaled_dot_product_attention(q, k, v, attn_mask=strip_mask, scale=spec.scale)


def _ways(spans: list[float], rows: int, spec: Spec) -> list[_Way]:
    """Return how to compute each head; `spans` is how far apart the biases of a head's row are."""
    if spec.dtype != torch.float32:
        return [_square] * len(spans)
    if spec.needs_grad:
        return [_square if span <= _EXACT_TRAINED else attend_strips for span in spans]
    ways = [_way(span) for span in spans]
    if rows < _ROWS_TO_SHARE or spec.batch > 1:
        return ways
    for run in _runs(ways):
        if ways[run[0]] is _square:
            # The heads left over would leave threads idle: a thread takes a run of rows, and a
            # head's last rows are its longest. Halves share such a head evenly.
            for head in run[: len(run) % torch.get_num_threads()]:
                ways[head] = _halves
    return ways


def _runs(ways: list[_Way]) -> list[list[int]]:
    """Return the runs of neighbouring heads that are computed the same way."""
    return [[*run] for _, run in groupby(range(len(ways)), key=ways.__getitem__)]


def _way(span: float) -> _Way:
    if span > 2 * EXACT:
        return attend_strips
    return _halves if span > EXACT else _square


def _halves(q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, spec: Spec) -> None:
    attend_halves(q, k, v, masks, out, spec.scale)


def _square(q: Tensor, k: Tensor, v: Tensor, masks: Masks, out: Tensor, spec: Spec) -> None:
    """Write attention with one row of biases, which is 0 at the middle key."""
    mask = masks.centred(q.shape[2])[None, :, None].expand(*q.shape[:3], -1)
    out[:] = attend_causally(q, k, v, mask, spec.scale)
