"""flex: FlexAttention, which compiles the bias into the attention kernel itself.

The bias is a score_mod over the captured slopes, computed in float32 inside the kernel; blocks
above the diagonal are never visited. Stores a BlockMask of q_len/128 x kv_len/128 indices, built
directly because create_block_mask needs gigabytes at 16k. Source: torch's flex_attention.
"""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from variants.compiling import compiled
from variants.problem import Attention, Spec, Unsupported

BLOCK = 128


def prepare(spec: Spec) -> Attention:
    """Return flex_attention compiled for the spec; the kernel is built at the first call."""
    if spec.slopes_need_grad:
        raise Unsupported(
            "flex gives captured slopes no gradient here; eager, compile and sdpa_mask do"
        )
    if spec.needs_grad and spec.device.type == "cpu":
        _let_torch_refuse(spec)
    offset = spec.kv_len - spec.q_len
    block_mask = _causal_blocks(spec) if spec.causal else None
    grouped = spec.heads != spec.kv_heads

    def attention(q, k, v, slopes):  # type: ignore[no-untyped-def]
        def relative_bias(score, batch, head, row, key):  # type: ignore[no-untyped-def]  # noqa: ARG001
            return score - slopes[head] * (row + offset - key).abs()

        return flex_attention(
            q,
            k,
            v,
            score_mod=relative_bias,
            block_mask=block_mask,
            scale=spec.scale,
            enable_gqa=grouped,
        )

    return compiled(attention, spec.device)


def _let_torch_refuse(spec: Spec) -> None:
    """Ask torch uncompiled, because a compiled call buries its reason in a trace."""
    token = torch.zeros(1, 1, 1, 16, dtype=spec.dtype, device=spec.device, requires_grad=True)
    flex_attention(token, token, token)


def _causal_blocks(spec: Spec) -> BlockMask:
    offset = spec.kv_len - spec.q_len
    rows, columns = -(-spec.q_len // BLOCK), -(-spec.kv_len // BLOCK)
    first_position = torch.arange(rows, device=spec.device) * BLOCK + offset
    last_position = (first_position + BLOCK - 1).clamp(max=spec.kv_len - 1)
    full = (first_position + 1) // BLOCK  # whole key blocks at or before the first query
    partial = last_position // BLOCK + 1 - full
    column = torch.arange(columns, device=spec.device, dtype=torch.int32)

    def per_row(counts: Tensor) -> Tensor:
        return counts.to(torch.int32)[None, None]  # [1, 1, rows]

    def mask(batch: Tensor, head: Tensor, row: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        return row + offset >= key

    return BlockMask.from_kv_blocks(
        per_row(partial),
        (full.to(torch.int32)[:, None] + column).clamp(max=columns - 1)[None, None],
        per_row(full),
        column.expand(1, 1, rows, columns).contiguous(),
        BLOCK_SIZE=BLOCK,
        mask_mod=mask,
        seq_lengths=(spec.q_len, spec.kv_len),
    )
