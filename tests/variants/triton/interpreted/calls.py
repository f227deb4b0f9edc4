"""Calls of the kernel in the interpreter: with small tiles, and which keys they visited."""

import torch
from torch import Tensor

from tests.variants.triton.interpreted.model import SMALL
from variants.triton.launch import LaunchResult
from variants.triton.tiles import Tiles


def visited_keys(
    done: LaunchResult, q_len: int, kv_len: int, tiles: Tiles = SMALL, *, causal: bool = True
) -> Tensor:
    """Return which keys each query's program visited: bool [batch, heads, q_len, kv_len].

    In causal attention keys after a query are not counted.
    """
    batch, heads = done.out.shape[:2]
    blocks = -(-q_len // tiles.rows)
    counts = done.visited.view(heads, batch, blocks, 2).flip(2)
    seen = torch.zeros(batch, heads, q_len, kv_len, dtype=torch.bool)
    for block in range(blocks):
        rows = slice(block * tiles.rows, min((block + 1) * tiles.rows, q_len))
        first, last = (kv_len - q_len + row for row in (rows.start, rows.stop - 1))
        own = max(min(first, kv_len - 1), 0) // tiles.keys * tiles.keys
        end = own + max(0, -(-(min(last + 1, kv_len) - own) // tiles.keys)) * tiles.keys
        for entry in range(batch):
            for head in range(heads):
                before, after = counts[head, entry, block].tolist()
                keys = slice(own - before * tiles.keys, end + after * tiles.keys)
                seen[entry, head, rows, keys] = True
    if causal:
        seen &= torch.ones(q_len, kv_len, dtype=torch.bool).tril(kv_len - q_len)
    return seen
