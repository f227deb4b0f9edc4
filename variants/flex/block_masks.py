"""BlockMasks made directly from indices, because create_block_mask needs gigabytes at 16k keys."""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, _mask_mod_signature

from variants.problem import Spec

BLOCK = 128


def block_mask_of(spec: Spec) -> BlockMask | None:
    """Return which key blocks each query block visits; None where every query sees every key."""
    if spec.packed:
        return _packed_blocks(spec)
    return _causal_blocks(spec) if spec.causal else None


def _causal_blocks(spec: Spec) -> BlockMask:
    offset = spec.kv_len - spec.q_len
    rows, columns = -(-spec.q_len // BLOCK), -(-spec.kv_len // BLOCK)
    first_position = torch.arange(rows, device=spec.device) * BLOCK + offset
    last_position = (first_position + BLOCK - 1).clamp(max=spec.kv_len - 1)
    column = torch.arange(columns, device=spec.device)
    visited = column[None] <= last_position[:, None] // BLOCK
    whole = column[None] < (first_position[:, None] + 1) // BLOCK

    def mask(batch: Tensor, head: Tensor, row: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        return row + offset >= key

    return _block_mask(spec, visited, whole, mask)


def _packed_blocks(spec: Spec) -> BlockMask:
    """Return the mask of a packed batch: a query sees only keys of its own sequence."""
    lengths = torch.tensor(spec.seq_lens, device=spec.device)
    sequence = torch.repeat_interleave(torch.arange(len(lengths), device=spec.device), lengths)
    starts = torch.arange(0, spec.q_len, BLOCK, device=spec.device)
    first, last = sequence[starts], sequence[(starts + BLOCK - 1).clamp(max=spec.q_len - 1)]
    visited = (first[None] <= last[:, None]) & (last[None] >= first[:, None])
    whole = (first == last)[:, None] & (first == last)[None] & (first[:, None] == first[None])
    whole &= (starts + BLOCK <= spec.q_len)[None]
    if spec.causal:
        visited, whole = visited.tril(), whole.tril(-1)

    def mask(batch: Tensor, head: Tensor, row: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        same_sequence = sequence[row] == sequence[key]
        return same_sequence & (row >= key) if spec.causal else same_sequence

    return _block_mask(spec, visited, whole, mask)


def _block_mask(spec: Spec, visited: Tensor, whole: Tensor, mask: _mask_mod_signature) -> BlockMask:
    """Return a BlockMask of the blocks in `visited` [rows, columns].

    `mask` is applied in all of them except the blocks in `whole`, where every query sees every key.
    """

    def block_list(blocks: Tensor) -> tuple[Tensor, Tensor]:
        counts = blocks.sum(dim=1, dtype=torch.int32)
        columns = blocks.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        return counts[None, None], columns.to(torch.int32)[None, None]

    return BlockMask.from_kv_blocks(
        *block_list(visited & ~whole),
        *block_list(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=mask,
        seq_lengths=(spec.q_len, spec.kv_len),
    )
