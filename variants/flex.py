"""flex: FlexAttention, which compiles the bias into the attention kernel itself.

The bias is a score_mod over the captured slopes, computed in float32 inside the kernel; blocks
above the diagonal, or of another packed sequence, are never visited. Stores a BlockMask of
q_len/128 x kv_len/128 indices, built directly because create_block_mask needs gigabytes at 16k.
Source: torch's flex_attention.
"""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, _mask_mod_signature, flex_attention

from variants.compiling import compiled
from variants.problem import Attention, Spec, Unsupported
from variants.ragged import ragged

BLOCK = 128


def prepare(spec: Spec) -> Attention:
    """Return flex_attention compiled for the spec; the kernel is built at the first call."""
    if spec.seq_lens and not spec.packed:
        return ragged(prepare, spec)
    if spec.slopes_need_grad:
        raise Unsupported(
            "flex gives captured slopes no gradient here; eager, compile and sdpa_mask do"
        )
    if spec.needs_grad and spec.device.type == "cpu":
        _let_torch_refuse(spec)
    offset = spec.kv_len - spec.q_len
    block_mask = _blocks(spec)
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


def _blocks(spec: Spec) -> BlockMask | None:
    if spec.packed:
        return _packed_blocks(spec)
    return _causal_blocks(spec) if spec.causal else None


def _causal_blocks(spec: Spec) -> BlockMask:
    offset = spec.kv_len - spec.q_len
    rows, columns = -(-spec.q_len // BLOCK), -(-spec.kv_len // BLOCK)
    first_position = torch.arange(rows, device=spec.device) * BLOCK + offset
    last_position = (first_position + BLOCK - 1).clamp(max=spec.kv_len - 1)
    column = torch.arange(columns, device=spec.device)
    seen = column[None] <= last_position[:, None] // BLOCK
    whole = column[None] < (first_position[:, None] + 1) // BLOCK

    def mask(batch: Tensor, head: Tensor, row: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        return row + offset >= key

    return _block_mask(spec, seen, whole, mask)


def _packed_blocks(spec: Spec) -> BlockMask:
    """Return the blocks in which a query meets keys of its own sequence."""
    lengths = torch.tensor(spec.seq_lens, device=spec.device)
    sequence = torch.repeat_interleave(torch.arange(len(lengths), device=spec.device), lengths)
    starts = torch.arange(0, spec.q_len, BLOCK, device=spec.device)
    first, last = sequence[starts], sequence[(starts + BLOCK - 1).clamp(max=spec.q_len - 1)]
    seen = (first[None] <= last[:, None]) & (last[None] >= first[:, None])
    whole = (first == last)[:, None] & (first == last)[None] & (first[:, None] == first[None])
    whole &= (starts + BLOCK <= spec.q_len)[None]
    if spec.causal:
        seen, whole = seen.tril(), whole.tril(-1)

    def mask(batch: Tensor, head: Tensor, row: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        own = sequence[row] == sequence[key]
        return own & (row >= key) if spec.causal else own

    return _block_mask(spec, seen, whole, mask)


def _block_mask(spec: Spec, seen: Tensor, whole: Tensor, mask: _mask_mod_signature) -> BlockMask:
    """Return the mask of key blocks that are seen [rows, columns], some of them as a whole."""

    def listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
        counts = blocks.sum(dim=1, dtype=torch.int32)
        columns = blocks.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        return counts[None, None], columns.to(torch.int32)[None, None]

    return BlockMask.from_kv_blocks(
        *listed(seen & ~whole),
        *listed(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=mask,
        seq_lengths=(spec.q_len, spec.kv_len),
    )
