"""sdpa_window: causal SDPA on the keys that can matter, as certified from the data at every call.

For: long causal prefill, chunks and training on a CPU where native_window can't be built.
Not for: short sequences, bidirectional attention, learned slopes, CUDA.

On a steep head the bias makes far keys negligible. From the norms of q, k and v, variants.windows
bounds how far back each block of queries must look. Heads and blocks with similar windows share one
call of stock SDPA on overlapping views of k and v. Except in training, a wide window takes two
calls for many queries at once, one for their own keys and one for the keys before them, merged by
log-sum-exp. The keys that are left out weigh at most eps / 2 of any row, times how much larger
their values are than the smallest near the row. Stores masks of 64 MiB at most. The time grows with
the length, not with its square, once the gentlest head's window is shorter than the sequence; large
norms delay this. Declines CUDA, bidirectional attention and gradients of the slopes, and
at a call a flash kernel that is switched off.
Source: the pruning of arXiv 2504.06949, with a bound and bands of our own.
"""

import torch
from torch import Tensor

from variants.batches.ragged import ragged
from variants.norms import BLOCK
from variants.problem import Attention, Spec, Unsupported
from variants.sdpa.cpu_flash import contiguous_rows
from variants.sdpa_window.band_attention import attend_band
from variants.sdpa_window.bands import bands
from variants.sdpa_window.bias_masks import STRIP, masks_of
from variants.windows import density, windows_of

__all__ = ["density", "prepare"]

_WIDE = 2048 + STRIP  # keys; wider windows go to `attend_blocks`


def prepare(spec: Spec) -> Attention:
    """Return attention in bands, planned anew from the data of every call."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    _decline(spec)
    windows = windows_of(spec)
    before = -(-spec.kv_len // BLOCK) - max(1, spec.q_len // BLOCK)
    threads = torch.get_num_threads() / spec.batch
    tall = BLOCK if spec.dtype == torch.float32 else STRIP
    masks_for = masks_of(spec, tall, spec.kv_len if spec.needs_grad else _WIDE)

    def in_bands(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        q, k, v = contiguous_rows(q, k, v)
        back, depth = windows(q, k, v, slopes)
        widths = back.amax(dim=0).tolist()  # [heads][blocks]
        masks, out = masks_for(slopes, depth), torch.empty_like(q)
        for heads, kv_heads in _sharing(spec):
            for band in bands(widths[heads], before, threads):
                group = slice(heads.start + band.first_head, heads.start + band.last_head)
                kv_group = group if spec.kv_heads == spec.heads else kv_heads
                keys, values = (
                    part[:, kv_group].expand(-1, group.stop - group.start, -1, -1)
                    for part in (k, v)
                )
                attend_band(
                    q[:, group],
                    keys,
                    values,
                    masks.for_heads(group),
                    out[:, group],
                    band,
                    spec,
                )
        return out

    return in_bands


def _decline(spec: Spec) -> None:
    if spec.slopes_need_grad:
        raise Unsupported("windows give the slopes no gradient; eager, compile and sdpa_mask do")
    if spec.device.type != "cpu":
        raise Unsupported("its plan waits for the data on the host; flex_window's does not")
    if not spec.causal:
        raise Unsupported("windows are certified for causal attention; sdpa_mask takes both sides")


def _sharing(spec: Spec) -> list[tuple[slice, slice]]:
    """Return slices of heads, each beside the slice of kv heads that it uses.

    With a kv head for each head that is one pair of all heads, else a pair for each kv head.
    """
    if spec.kv_heads == spec.heads:
        return [(slice(0, spec.heads), slice(0, spec.heads))]
    size = spec.heads // spec.kv_heads
    return [(slice(kv * size, (kv + 1) * size), slice(kv, kv + 1)) for kv in range(spec.kv_heads)]
