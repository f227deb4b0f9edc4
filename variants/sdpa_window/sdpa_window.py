"""sdpa_window: causal SDPA on the keys that can matter, as certified from the data at every call.

A steep head's bias buries far keys. variants.windows bounds, from the norms of q and k, how far
back each block of queries must look; heads and blocks with like windows share a call of stock SDPA
on overlapping views of k and v. Except in training, wide windows are two calls for many queries at
once, to their own keys and to those before, merged by their log-sum-exp
(variants.sdpa_window.wide_windows), and so are triangles in float32 whose bias spans too much for
one (variants.sdpa_window.triangles). What is left out weighs less in any row than rounding its
output does. Stores masks of 64 MiB at most. Its time grows with the length, not with its square,
once the gentlest head's window is shorter; large norms put that off. Source: the pruning of arXiv
2504.06949, with a bound and bands of our own.
"""

import torch
from torch import Tensor

from variants.problem import Attention, Spec, Unsupported
from variants.ragged import ragged
from variants.sdpa.cpu_flash import FLASH_REFUSED, side_by_side
from variants.sdpa_window.band_attention import attend_band
from variants.sdpa_window.bands import bands
from variants.sdpa_window.bias_masks import STRIP, masks_of
from variants.windows import BLOCK, density, windows_of

__all__ = ["density", "prepare"]

_WIDE = 2048 + STRIP  # keys; wider windows go in blocks


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
        q, k, v = side_by_side(q, k, v)
        back, depth = windows(q, k, slopes)
        widths = back.amax(dim=0).tolist()  # [heads][blocks]
        masks, out = masks_for(slopes, depth), torch.empty_like(q)
        for heads, kv_heads in _sharing(spec):
            for band in bands(widths[heads], before, threads):
                own = slice(heads.start + band.first_head, heads.start + band.last_head)
                own_kv = own if spec.kv_heads == spec.heads else kv_heads
                keys, values = (
                    part[:, own_kv].expand(-1, own.stop - own.start, -1, -1) for part in (k, v)
                )
                attend_band(q[:, own], keys, values, masks.for_heads(own), out[:, own], band, spec)
        return out

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        try:
            return in_bands(q, k, v, slopes)
        except RuntimeError as refusal:
            if FLASH_REFUSED not in str(refusal):
                raise
            raise Unsupported(
                "the first keys are seen through a key row, which only torch's flash kernel takes, "
                "and it is off or refuses these tensors: leave SDPBackend.FLASH_ATTENTION on"
            ) from refusal

    return attention


def _decline(spec: Spec) -> None:
    if spec.slopes_need_grad:
        raise Unsupported("windows give the slopes no gradient; eager, compile and sdpa_mask do")
    if spec.device.type != "cpu":
        raise Unsupported("its plan waits for the data on the host; flex_window doesn't")
    if not spec.causal:
        raise Unsupported("windows are certified for causal attention; sdpa_mask takes both sides")


def _sharing(spec: Spec) -> list[tuple[slice, slice]]:
    """Return heads beside the kv heads that they share: all with all, or a group with its one."""
    if spec.kv_heads == spec.heads:
        return [(slice(0, spec.heads), slice(0, spec.heads))]
    size = spec.heads // spec.kv_heads
    return [(slice(kv * size, (kv + 1) * size), slice(kv, kv + 1)) for kv in range(spec.kv_heads)]
