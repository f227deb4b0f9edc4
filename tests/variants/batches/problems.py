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


def problem(
    *,
    q_len: int = 70,
    kv_len: int = 70,
    kv_heads: int = 4,
    batch: int = 2,
    value_dim: int = 16,
    dtype: torch.dtype = torch.float32,
    **arguments: Any,
) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Any]]:
    """Return q, k and v, and the arguments of a call with the slopes written out."""
    if "cu_seqlens" not in arguments and "q_offset" not in arguments:
        q_len = min(q_len, kv_len)
    q = numbers(1, batch, 4, q_len, 16).to(dtype)
    k = numbers(2, batch, kv_heads, kv_len, 16).to(dtype)
    v = numbers(3, batch, kv_heads, kv_len, value_dim).to(dtype)
    return (q, k, v), {"slopes": alibi_slopes(4)} | arguments
