"""Windows as BlockMasks: the key blocks of flex that hold the keys that can matter in a call."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from variants.flex.block_masks import BLOCK
from variants.norms import BLOCK as WINDOW_BLOCK
from variants.problem import Spec


def first_blocks_of(spec: Spec) -> Callable[[Tensor], Tensor]:
    """Return a function from windows to the first block of keys that each block of queries visits.

    It takes `back` of variants.windows.Windows, [batch, heads, blocks], and returns [batch, heads,
    rows]. Windows count blocks of 64 from the last key; flex counts blocks of 128 from the first.
    So a block of flex takes the widest of the windows that it overlaps.
    """
    blocks = max(1, spec.q_len // WINDOW_BLOCK)
    # Queries in front of all windows' blocks; negative where the only block is a short one.
    front = spec.q_len - blocks * WINDOW_BLOCK
    begins = spec.kv_len - WINDOW_BLOCK * torch.arange(blocks, 0, -1, device=spec.device)
    rows = torch.arange(0, spec.q_len, BLOCK, device=spec.device)  # the first of each block of flex
    last = ((rows + BLOCK - 1 - front) // WINDOW_BLOCK).clamp(0, blocks - 1)
    overlapped = (
        (rows - front)[:, None] // WINDOW_BLOCK + torch.arange(3, device=spec.device)
    ).clamp(min=0)
    overlapped = torch.minimum(overlapped, last[:, None])  # [rows, 3]
    in_front = rows < front

    def first_blocks(back: Tensor) -> Tensor:
        first_key = (begins - WINDOW_BLOCK * back).clamp(min=0)  # [batch, heads, blocks]
        first = first_key[..., overlapped].amin(dim=-1) // BLOCK
        return first.masked_fill(in_front, 0)

    return first_blocks


def windowed_mask_of(spec: Spec) -> Callable[[Tensor], BlockMask]:
    """Return a function that makes a causal BlockMask.

    It takes the first block of keys that each block of queries visits: [batch, heads, rows].
    """
    offset = spec.kv_len - spec.q_len
    rows, columns = -(-spec.q_len // BLOCK), -(-spec.kv_len // BLOCK)
    position = (
        torch.arange(rows, device=spec.device) * BLOCK + offset
    )  # of the first row of each block
    whole = (position + 1) // BLOCK  # blocks of keys that all rows of a block see
    visited = (position + BLOCK - 1).clamp(max=spec.kv_len - 1) // BLOCK + 1
    column = torch.arange(columns, device=spec.device)
    diagonal = (whole[:, None] + column).clamp(max=columns - 1).int()
    shape = (spec.batch, spec.heads, rows)

    def causal(batch: Tensor, head: Tensor, row: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        return row + offset >= key

    def windowed_mask(first: Tensor) -> BlockMask:
        first = torch.minimum(first, whole)
        return BlockMask.from_kv_blocks(
            (visited - whole).int().expand(shape).contiguous(),
            diagonal.expand(*shape, columns).contiguous(),
            (whole - first).int(),
            (first[..., None] + column).clamp(max=columns - 1).int(),
            BLOCK_SIZE=BLOCK,
            mask_mod=causal,
            seq_lengths=(spec.q_len, spec.kv_len),
        )

    return windowed_mask
