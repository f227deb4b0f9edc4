"""Whole tiles for torch's flash kernel on the CPU, which is slow in half precision between them.

Its matrix products run over rows as long as the keys are many, up to 512, and where those end
beside a tile they took up to 2.3 times as long as for a few keys more (Xeon with AMX, torch 2.13:
benchmarks/uneven_lengths.py). Causal queries never see keys behind them, so zeros may stand there.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from variants.problem import Attention, Spec

TILE = 16
_FEWEST = 160  # below, copies cost more than tiles save


def is_uneven(spec: Spec, multiple: int) -> bool:
    """Return whether causal attention in half precision ends beside a multiple of keys."""
    return (
        spec.causal
        and spec.q_len == spec.kv_len >= _FEWEST
        and spec.dtype != torch.float32
        and spec.device.type == "cpu"
        and spec.kv_len % multiple > 0
    )


def on_whole_tiles(prepare: Callable[[Spec], Attention], spec: Spec) -> Attention:
    """Return the attention of as many queries as keys as that of the next multiple of TILE.

    Copies q, k and v to do so; the output is a view of more rows.
    """
    length = -(-spec.kv_len // TILE) * TILE
    whole = prepare(replace(spec, q_len=length, kv_len=length))

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        q, k, v = (_fill_up(tensor, length) for tensor in (q, k, v))
        return whole(q, k, v, slopes)[:, :, : spec.kv_len]

    return attention


def _fill_up(tensor: Tensor, length: int) -> Tensor:
    """Return the tensor with zeros behind it: [batch, heads, length, head_dim]."""
    batch, heads, own, head_dim = tensor.shape
    zeros = tensor.new_zeros(1).expand(batch, heads, length - own, head_dim)
    return torch.cat([tensor, zeros], dim=2)
