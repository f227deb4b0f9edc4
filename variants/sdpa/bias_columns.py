"""The bias as eight columns of queries and of keys, whose products add up to slope * (j - i).

A position is two digits of 8 bits and a slope three parts of 8 bits, each exact in every dtype.
"""

import torch
from torch import Tensor

_COARSE, _FINE = 2.0**15, 2.0**7  # the keys' factors of a row's shift; float16 ends at 65504


def key_columns(position: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the keys' columns [kv_len, 8], in the order of the queries' columns."""
    low = (position + 128) % 256 - 128
    high = (position - low) // 2  # 128 times the digit: float16 holds it exactly
    ones = torch.ones_like(position)
    columns = (high, low, ones * _COARSE, ones * _FINE, high, low, high, low)
    return torch.stack([column.to(dtype) for column in columns], dim=1)


def query_columns(steepness: Tensor, position: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the queries' columns [heads, q_len, 8]: the slope's parts and minus the row's bias."""
    top, middle, rest = _parts(steepness, 3)
    coarse, fine = _parts(-steepness * position, 2)
    columns = (2 * top, top, coarse / _COARSE, fine / _FINE, 2 * middle, middle, 2 * rest, rest)
    return torch.stack([each.to(dtype).expand_as(coarse) for each in columns], dim=2)


def _parts(number: Tensor, count: int) -> tuple[Tensor, ...]:
    """Split float64 numbers into `count` parts of 8 bits, the largest first, without the rest."""
    part = number.to(torch.bfloat16).double()
    return (part, *_parts(number - part, count - 1)) if count > 1 else (part,)
