"""sdpa_halves: causal SDPA on the CPU as squares on the diagonal and the rectangles below them.

For: float32 prefill of up to some 1500 keys on a CPU where native_window can't be built.
Not for: chunks, bidirectional attention, learned slopes, CUDA.

All squares are one call of torch's flash kernel, and so are the rectangles of each level; the
levels are merged by their log-sum-exp (variants.sdpa.halving). This wins on short sequences: there
the kernel takes all keys at once and computes the pairs above the diagonal too. Far keys are left
out where the norms of q, k and v certify that they can't matter (variants.windows), because tiny
weights are subnormal in float32, and slow. The last queries, too few for whole tiles, are one more
call. Stores squares [heads, 256, 256] and rows of biases, float32. Each level rounds a
half-precision output once more. Declines CUDA, bidirectional attention, fewer queries than keys,
and gradients of the slopes. Source: merging by log-sum-exp as in Rabe and Staats, arXiv 2112.05682.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.batches.ragged import ragged
from variants.problem import Attention, Spec, Unsupported
from variants.sdpa.cpu_flash import BURIED, contiguous_rows
from variants.sdpa.halving import biases_of, halve
from variants.sdpa.whole_tiles import TILE
from variants.slopes_cache import cache_by_slopes
from variants.windows import depth_of

_SQUARE = 256  # the most queries of a square


def prepare(spec: Spec) -> Attention:
    """Return attention by halves, for causal attention with as many queries as keys."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    _decline(spec)
    levels = (-(-spec.kv_len // _SQUARE) - 1).bit_length()
    rest = spec.kv_len % (TILE << levels)
    length = spec.kv_len - rest
    sizes = [length >> level for level in range(levels, -1, -1)]
    depth = depth_of(spec)
    whole = cache_by_slopes(lambda slopes: biases_of(slopes, sizes, rest, is_cut=False))
    cut = cache_by_slopes(lambda slopes: biases_of(slopes, sizes, rest, is_cut=True))

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        if torch._C._get_tracing_state() is not None:
            raise Unsupported("torch.jit.trace can't follow halves; sdpa_mask and sdpa_window work")
        biases = (cut if depth(q, k, v, slopes).amax() <= BURIED else whole)(slopes)
        q, k, v = contiguous_rows(q, k, v)
        if not length:
            return _last(q, k, v, biases.last, spec)
        first = (q[:, :, :length], k[:, :, :length], v[:, :, :length])
        outs = [halve(*sequence, biases, spec.scale) for sequence in zip(*first, strict=True)]
        out = (torch.stack(outs) if spec.batch > 1 else outs[0][None]).transpose(1, 2)
        if not rest:
            return out
        return torch.cat([out, _last(q[:, :, length:], k, v, biases.last, spec)], dim=2)

    return attention


def _last(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, spec: Spec) -> Tensor:
    """Return the attention of the last queries to all keys; `mask` is [heads, queries, keys]."""
    return scaled_dot_product_attention(
        q, k, v, attn_mask=mask[None], scale=spec.scale, enable_gqa=spec.heads != spec.kv_heads
    )


def _decline(spec: Spec) -> None:
    if spec.slopes_need_grad:
        raise Unsupported("merging gives the slopes no gradient; eager, compile and sdpa_mask do")
    if spec.device.type != "cpu":
        raise Unsupported("torch returns the log-sum-exp of a biased call on the CPU only")
    if not spec.causal:
        raise Unsupported("halves need causal attention; sdpa_mask takes both sides")
    if spec.q_len != spec.kv_len:
        raise Unsupported(
            "halves need as many queries as keys; sdpa_mask and sdpa_window take fewer"
        )
