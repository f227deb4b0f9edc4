"""sdpa_key: causal SDPA on the CPU with one float32 row of biases, slope * (j - last key).

For: causal prefill and decode in half precision on a CPU where native_window can't be built.
Not for: float32 (it loses digits and disagrees), chunks, bidirectional attention, CUDA.

Softmax does not change when all scores of a row move by the same amount, so a bias that depends on
the key alone is enough. Stores [heads, kv_len] float32 and no mask. The call goes to the kernel
below SDPA, because SDPA refuses a mask together with is_causal from torch 2.14 on
(variants.sdpa.cpu_flash). That kernel stores no scores and stops at the diagonal. A single query
sees every key and needs no is_causal. Rows far from the last key carry slope * distance in their
float32 scores. This costs float32 outputs digits; half-precision outputs never had those digits. In
half precision, lengths from 160 to 511 that are no multiple of 4 are padded with zeros
(variants.sdpa.whole_tiles). Declines CUDA, bidirectional attention, chunks and gradients of the
slopes. At a call it declines q, k and v that are not contiguous, and a flash kernel that is
switched off. Source: BLOOM's and MPT's form of the bias.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.batches.ragged import ragged
from variants.problem import Attention, Spec, Unsupported
from variants.sdpa.cpu_flash import attend_causally
from variants.sdpa.whole_tiles import is_uneven, on_whole_tiles
from variants.slopes_cache import cache_by_slopes

_SPLIT_KEYS = 512  # the kernel splits more keys into parts of 512, which end in whole tiles


def prepare(spec: Spec) -> Attention:
    """Return causal attention with a row of biases; only torch's CPU kernel takes both."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    if spec.slopes_need_grad:
        raise Unsupported(
            "the flash kernel gives no gradient to a key row; eager, compile and sdpa_mask do"
        )
    if spec.device.type != "cpu":
        raise Unsupported("a mask together with is_causal is taken on the CPU only")
    if not spec.causal:
        raise Unsupported("a key row equals the relative bias only when attention is causal")
    if spec.q_len not in {1, spec.kv_len}:
        raise Unsupported(
            "SDPA's is_causal aligns top-left, so it needs one query or q_len equal to kv_len; "
            "sdpa_mask takes a chunk"
        )
    if spec.kv_len < _SPLIT_KEYS and is_uneven(spec, 4):
        return on_whole_tiles(prepare, spec)
    distance = torch.arange(1 - spec.kv_len, 1, device=spec.device)  # [kv_len], 0 at the last key

    @cache_by_slopes
    def key_row(slopes: Tensor) -> Tensor:
        row = (slopes[:, None] * distance)[None, :, None, :]  # [1, heads, 1, kv_len]
        return row.expand(spec.batch, spec.heads, spec.q_len, spec.kv_len)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        if spec.q_len > 1:
            return attend_causally(q, k, v, key_row(slopes), spec.scale)
        return scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=key_row(slopes),
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
        )

    return attention
