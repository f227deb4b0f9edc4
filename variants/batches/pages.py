"""A cache in pages, as servers keep it: pages of a few slots, and a table of each sequence's pages.

k_pages are [pages, kv_heads, page_size, head_dim], v_pages the same but for their value_dim. Slot s
of a sequence lies in page block_tables[sequence, s // page_size], at s % page_size.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from variants.batches.sequences import GeneralAttention, Sequences
from variants.problem import Spec
from variants.tracing import is_traced


def room_of(k: Tensor, block_tables: Tensor | None) -> int:
    """Return how many slots a sequence's table has; without one, how many keys k has."""
    page_size = k.shape[2]
    return page_size if block_tables is None else block_tables.shape[1] * page_size


def gather(pages: Tensor, block_tables: Tensor) -> Tensor:
    """Return the slots of each sequence in order: [batch, kv_heads, most pages * page_size, dim].

    Slots past a sequence's length hold whatever the table leads to.
    """
    return pages[block_tables.long()].transpose(1, 2).flatten(2, 3)


def from_pages(prepare: Callable[[Spec], GeneralAttention], spec: Spec) -> GeneralAttention:
    """Return attention that copies k and v out of their pages, then attends to them as a whole."""
    attention = prepare(replace(spec, extras=replace(spec.extras, page_size=None)))

    def gather_and_attend(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        if sequences.block_tables is not None:
            k, v = (gather(part, sequences.block_tables) for part in (k, v))
        return attention(q, k, v, slopes, sequences._replace(block_tables=None))

    return gather_and_attend


def check_tables(q: Tensor, k: Tensor, sequences: Sequences) -> None:
    """Raise ValueError for a table that does not fit q and the pages k, or has no kv_lens by it.

    Numbers in the table are looked at on a CPU alone; elsewhere that would wait for the device.
    """
    tables, batch, pages = sequences.block_tables, q.shape[0], k.shape[0]
    wanted = f"int32 [{batch}, pages of a sequence] on {q.device}"
    if not isinstance(tables, Tensor):
        raise ValueError(f"block_tables is a {type(tables).__name__}: give a tensor, {wanted}")
    fits = tables.dim() == 2 and tables.shape[0] == batch and tables.shape[1] > 0
    if not fits or tables.dtype != torch.int32 or tables.device != q.device:
        shape = f"{tables.dtype} {list(tables.shape)} on {tables.device}"
        raise ValueError(f"block_tables is {shape}: give {wanted}")
    if sequences.kv_lens is None:
        raise ValueError("block_tables needs kv_lens beside it: how many slots of each are filled")
    if tables.device.type != "cpu" or is_traced():
        return
    least, most = int(tables.min()), int(tables.max())
    if least < 0 or most >= pages:
        wrong = least if least < 0 else most
        raise ValueError(f"block_tables has {wrong}: give 0 to {pages - 1}, the pages of k and v")
