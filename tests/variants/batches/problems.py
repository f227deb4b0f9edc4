"""Small problems for batches of any form."""

from typing import Any

import torch
from torch import Tensor

from variants.problem import alibi_slopes


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def padding(kv_len: int, *real: tuple[int, int]) -> Tensor:
    """Return [batch, kv_len]: each entry's real tokens are those from a slot on, up to another."""
    slots = torch.arange(kv_len)
    return torch.stack([(slots < first) | (slots >= end) for first, end in real])


def in_pages(
    kv_len: int, page_size: int, kv_lens: tuple[int, ...], seed: int = 7
) -> tuple[dict[str, Any], int]:
    """Return the arguments of a cache in shuffled pages, and how many pages; some are of none."""
    each = -(-kv_len // page_size)
    pages = len(kv_lens) * each + 3
    order = torch.randperm(pages, generator=torch.Generator().manual_seed(seed))
    tables = order[: len(kv_lens) * each].reshape(len(kv_lens), each).int()
    return {"kv_lens": torch.tensor(kv_lens), "block_tables": tables}, pages


def problem(
    *,
    q_len: int = 70,
    kv_len: int = 70,
    kv_heads: int = 4,
    batch: int = 2,
    value_dim: int = 16,
    page_size: int = 0,
    dtype: torch.dtype = torch.float32,
    **arguments: Any,
) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Any]]:
    """Return q, k and v, and the arguments of a call with the slopes written out."""
    if "cu_seqlens" not in arguments and "q_offset" not in arguments:
        q_len = min(q_len, kv_len)
    entries = batch
    if page_size:
        in_memory, entries = in_pages(kv_len, page_size, arguments["kv_lens"])
        kv_len, arguments = page_size, arguments | in_memory
    q = numbers(1, batch, 4, q_len, 16).to(dtype)
    k = numbers(2, entries, kv_heads, kv_len, 16).to(dtype)
    v = numbers(3, entries, kv_heads, kv_len, value_dim).to(dtype)
    return (q, k, v), {"slopes": alibi_slopes(4)} | arguments
