"""Padding to whole tiles for torch's flash kernel on the CPU, in half precision.

The kernel's matrix products run over as many rows as there are keys, up to 512. Lengths that end
inside a tile took up to 2.3 times as long as lengths of a few keys more (Xeon with AMX, torch 2.13:
benchmarks/windows/uneven_lengths.py). Causal queries never see keys after them, so zeros may follow
the last key.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from variants.problem import Attention, Spec

TILE = 16
_FEWEST = 160  # keys; for fewer, copies cost more than whole tiles save


def is_uneven(spec: Spec, multiple: int) -> bool:
    """Whether whole tiles pay and the number of keys is no multiple of `multiple`."""
    return (
        spec.causal
        and spec.q_len == spec.kv_len >= _FEWEST
        and spec.dtype != torch.float32
        and spec.device.type == "cpu"
        and spec.kv_len % multiple > 0
    )


def on_whole_tiles(prepare: Callable[[Spec], Attention], spec: Spec) -> Attention:
    """Return attention that pads q, k and v with zeros to the next multiple of TILE keys.

    For as many queries as keys. Each call copies q, k and v; the output is a view of more rows.
    """
    length = -(-spec.kv_len // TILE) * TILE
    whole = prepare(replace(spec, q_len=length, kv_len=length))

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        q, k, v = (_fill_up(tensor, length) for tensor in (q, k, v))
        return whole(q, k, v, slopes)[:, :, : spec.kv_len]

    return attention


def _fill_up(tensor: Tensor, length: int) -> Tensor:
    """Return the tensor padded with zeros at the end: [batch, heads, length, head_dim]."""
    batch, heads, rows, head_dim = tensor.shape
    zeros = tensor.new_zeros(1).expand(batch, heads, length - rows, head_dim)
    return torch.cat([tensor, zeros], dim=2)
