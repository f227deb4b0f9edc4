"""sdpa_folded: stock bias-free causal SDPA on q and k that carry the bias in eight more columns.

For: causal prefill on any device with heads of 64 and no mask in memory.
Not for: chunks, bidirectional attention, learned slopes; heads of 128 pay for the columns.

With these columns q'·k' is q·k + slope / scale * (j - i), plus a remainder that all keys of a row
share and that softmax cancels. A position is split into two digits of 8 bits and a slope into three
parts of 8 bits, each exact in every dtype. Two more columns subtract the row's own bias. So scores
are as small as the formula's wherever there is weight, and no row loses digits by its distance from
an anchor.

Two digits reach 131072 keys. Stores [heads, q_len, 8] and [kv_len, 8] in q's dtype. Each call
copies q, k and v to widen them; in half precision on the CPU it also pads them to whole tiles
(variants.sdpa.whole_tiles). Declines bidirectional attention, chunks, gradients of the slopes, in
float16 slopes over 32752 * scale, and on a CPU float32 gradients of heads other than 16 and 64.
Source: FlashBias (arXiv 2505.12044) for the fold.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.batches.ragged import ragged
from variants.problem import Attention, Spec, Unsupported
from variants.sdpa.bias_columns import key_columns, query_columns
from variants.sdpa.whole_tiles import TILE, is_uneven, on_whole_tiles
from variants.slopes_cache import cache_by_slopes
from variants.tracing import is_traced

REACH = 1 << 16
WHOLE_GRADIENTS = (16, 64)
"""Sizes of heads whose gradients keep float32 digits on a CPU; others were off by 22 budgets."""


def prepare(spec: Spec) -> Attention:
    """Return SDPA on widened tensors, for causal attention of all queries or of the last alone."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    _decline(spec)
    if is_uneven(spec, TILE):
        return on_whole_tiles(prepare, spec)
    # In a block's last rows kernels add columns in another order: counted from the last key, the
    # bias of those rows is small.
    position = torch.arange(spec.kv_len, device=spec.device) - min(spec.kv_len - 1, REACH)
    k_columns = key_columns(position, spec.dtype).expand(spec.batch, spec.kv_heads, -1, -1)
    v_columns = torch.zeros_like(k_columns[:1, :1, :1]).expand_as(k_columns)

    @cache_by_slopes
    def q_columns(slopes: Tensor) -> Tensor:
        steepness = slopes.double()[:, None] / spec.scale  # [heads, 1]; SDPA multiplies by scale
        columns = query_columns(steepness, position[-spec.q_len :], spec.dtype)
        if not is_traced() and not columns.isfinite().all():
            raise Unsupported(
                f"{spec.dtype} has no number for so steep a slope; sdpa_mask takes it"
            )
        return columns.expand(spec.batch, -1, -1, -1)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        # Kernels add columns from first to last. When q·k is added, the bias has shrunk to
        # slope * (j - i), and rounds no more than in the formula.
        out = scaled_dot_product_attention(
            torch.cat([q_columns(slopes), q], dim=3),
            torch.cat([k_columns, k], dim=3),
            torch.cat([v, v_columns], dim=3),
            is_causal=spec.q_len == spec.kv_len,
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
        )
        return out[..., : spec.head_dim]

    return attention


def _decline(spec: Spec) -> None:
    if spec.slopes_need_grad:
        raise Unsupported("digits have no gradient of the slopes; eager, compile and sdpa_mask do")
    if not spec.causal:
        raise Unsupported("columns hold j - i and no |j - i|, so attention has to be causal")
    is_whole = spec.device.type == "cpu" and spec.dtype == torch.float32
    if spec.needs_grad and is_whole and spec.head_dim not in WHOLE_GRADIENTS:
        raise Unsupported(
            f"the backward of a CPU adds {spec.head_dim} + 8 columns in an order that costs "
            "float32 digits; sdpa_mask and compile_blocks keep them"
        )
    if spec.q_len not in {1, spec.kv_len}:
        chunk = "SDPA's is_causal aligns top-left, so it needs one query or q_len equal to kv_len"
        raise Unsupported(f"{chunk}; flex and sdpa_mask take a chunk")
    if spec.kv_len > 2 * REACH:
        raise Unsupported(f"two digits of a position reach {2 * REACH} keys; flex takes more")
