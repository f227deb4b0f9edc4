"""The problem every variant solves: its shape, its slopes, and how to decline it.

ALiBi attention (Press, Smith, Lewis, arXiv 2108.12409) adds a bias that falls with distance:

    out[i] = softmax_j( scale * q[i]·k[j] - slope[h] * |i - j| ) · v[j]      causal: only j <= i

Queries are aligned bottom-right: query row r stands at position r + kv_len - q_len.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_BIAS_MAX = 126.0  # smaller slopes than 2^-126 float32 rounds, and in the end to no bias

Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(q, k, v, slopes) -> out.

q and out [batch, heads, q_len, head_dim], k and v [batch, kv_heads, kv_len, head_dim],
slopes [heads] float32.
"""


@dataclass(frozen=True)
class Spec:
    """What a variant may know before it sees a tensor.

    With `seq_lens` the batch is ragged (variants.ragged): padded at the ends, or packed, and then
    batch is 1 and q_len and kv_len are the sum.
    """

    batch: int
    heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device
    scale: float
    causal: bool
    needs_grad: bool
    layout: str = "bhnd"
    slopes_need_grad: bool = False
    seq_lens: tuple[int, ...] = ()
    packed: bool = False


class Unsupported(Exception):  # noqa: N818 - it is an answer, not an error
    """A variant declines a spec; the text says why, and what would help."""


def alibi_slopes(heads: int, bias_max: float = 8.0) -> Tensor:
    """Return the slopes of `heads` heads: [heads] float32, positive.

    For a power of two they are 2^(-bias_max (h+1) / heads). Otherwise, with c the largest power
    of two below, the slopes of c heads come first and every other slope of 2c heads fills up: the
    rule of the paper's published code and of every released model (the paper's text differs).
    """
    if heads < 1:
        raise ValueError(f"heads {heads}: a head count is at least 1")
    if not 0 < bias_max <= _MOST_BIAS_MAX:
        raise ValueError(f"bias_max {bias_max}: give over 0, at most {_MOST_BIAS_MAX}")
    whole = 1 << (heads.bit_length() - 1)
    slopes = _geometric(whole, bias_max)
    slopes += _geometric(2 * whole, bias_max)[0::2][: heads - whole]
    return torch.tensor(slopes, dtype=torch.float64).float()


def _geometric(heads: int, bias_max: float) -> list[float]:
    return [2.0 ** (-bias_max * (head + 1) / heads) for head in range(heads)]
