"""Norms of a cache, which a caller keeps beside it so that a step of decode reads what it needs.

For each kv head and block of BLOCK slots of the cache they hold the largest norm of its keys and of
its values. From them the kernel of native_window bounds the weight of keys that it has not read.
Norms that are too large cost time; norms that are too small make answers wrong.
"""

import torch
from torch import Tensor

from variants.norms import BLOCK

_ROUNDING_FACTOR = 1.0001  # over the error of sums of squares in float32
_LEAST_NORM = 2e-18  # so that a norm whose squares are too small for float32 is not taken for 0


@torch.no_grad()
def cache_norms(
    k: Tensor, v: Tensor, *, key_padding: Tensor | None = None, kv_lens: Tensor | None = None
) -> Tensor:
    """Return the norms of a cache: float32 [batch, kv_heads, 2, blocks of 64 slots].

    k is [batch, kv_heads, kv_len, head_dim], and v the same but for its head_dim. `key_padding`
    (bool [batch, kv_len], True is padding) and `kv_lens` (int32 [batch]) are those of
    alibi_attention: what padding and free slots hold does not count. Norms of free slots are 0.
    """
    batch, kv_len = k.shape[0], k.shape[2]
    is_free = torch.zeros(batch, kv_len, dtype=torch.bool, device=k.device)
    if key_padding is not None:
        is_free = is_free | key_padding
    if kv_lens is not None:
        is_free = is_free | (torch.arange(kv_len, device=k.device) >= kv_lens[:, None])
    sizes = _sizes(k, v).masked_fill(is_free[:, None, None], 0.0)
    padded = torch.nn.functional.pad(sizes, (0, -kv_len % BLOCK))
    return torch.unflatten(padded, 3, (-1, BLOCK)).amax(dim=4)


@torch.no_grad()
def append_norms(norms: Tensor, k: Tensor, v: Tensor, first: int | Tensor) -> Tensor:
    """Raise the norms of a cache by new keys and values, in place, and return them.

    k and v are [batch, kv_heads, new, head_dim], written to slots `first` and on: a whole number,
    or one for each entry of the batch, int [batch]. Where a slot held something before, its block
    keeps the larger norm. Raises ValueError for norms of another batch or other kv heads, and for a
    number that leaves the blocks; a tensor has to fit, because to look into it would wait for the
    device.
    """
    batch, kv_heads, new = k.shape[:3]
    if norms.dim() != 4 or norms.shape[:3] != (batch, kv_heads, 2):  # scatter takes larger ones
        raise ValueError(
            f"norms are {list(norms.shape)} and k {list(k.shape)}: give [{batch}, {kv_heads}, 2, "
            "blocks], from cache_norms"
        )
    if isinstance(first, int) and not 0 <= first <= norms.shape[3] * BLOCK - new:
        room = norms.shape[3] * BLOCK
        raise ValueError(
            f"first {first}: {new} new keys are not inside of these norms' {room} slots"
        )
    starts = torch.as_tensor(first, device=k.device).expand(batch)
    slots = starts[:, None] + torch.arange(new, device=k.device)
    blocks = slots.div(BLOCK, rounding_mode="floor")[:, None, None].expand(batch, kv_heads, 2, new)
    return norms.scatter_reduce_(3, blocks.long(), _sizes(k, v), "amax")


def refuse_norms(norms: object, batch: int, kv_heads: int, kv_len: int, on: torch.device) -> None:
    """Raise ValueError for what is not float32 [batch, kv_heads, 2, all blocks of kv_len slots]."""
    least = -(-kv_len // BLOCK)
    wanted = f"float32 [{batch}, {kv_heads}, 2, {least} or more] on {on}, from cache_norms"
    if not isinstance(norms, Tensor):
        raise ValueError(f"norms are a {type(norms).__name__}: give a tensor, {wanted}")
    fits = norms.dim() == 4 and norms.shape[:3] == (batch, kv_heads, 2) and norms.shape[3] >= least
    if not fits or norms.dtype != torch.float32 or norms.device != on:
        shape = f"{norms.dtype} {list(norms.shape)} on {norms.device}"
        raise ValueError(f"norms are {shape}: give {wanted}")


def _sizes(k: Tensor, v: Tensor) -> Tensor:
    """Return the norm of each key and value, rounded up: [batch, kv_heads, 2, length]."""
    norms = [torch.linalg.vector_norm(part, dim=-1, dtype=torch.float32) for part in (k, v)]
    return torch.stack(norms, dim=2) * _ROUNDING_FACTOR + _LEAST_NORM
