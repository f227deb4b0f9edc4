"""The problem that every variant solves: its shape, its slopes, and how a variant declines it.

ALiBi attention (Press, Smith, Lewis, arXiv 2108.12409) adds a bias that falls with distance:

    out[i] = softmax_j( scale * q[i]·k[j] - slope[h] * |i - j| ) · v[j]      causal: only j <= i

Queries are aligned bottom-right: query row r stands at position r + kv_len - q_len.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_BIAS_MAX = 126.0  # float32 rounds slopes under 2^-126, the smallest of them to 0: no bias

Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(q, k, v, slopes) -> out.

q and out [batch, heads, q_len, head_dim], k and v [batch, kv_heads, kv_len, head_dim],
slopes [heads] float32.
"""


@dataclass(frozen=True)
class Spec:
    """All that a variant knows before it sees a tensor.

    `scale` multiplies q·k. `layout` is the order of q's dimensions in memory. With `seq_lens` the
    batch is ragged (variants.ragged): padded at the ends, or `packed`. A packed batch has batch 1,
    and its q_len and kv_len are both the sum of the lengths.
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

    If `heads` is a power of two, head h has slope 2^(-bias_max (h+1) / heads). Otherwise let c be
    the largest power of two below `heads`: the slopes for c heads come first, then every other
    slope for 2c heads, starting with the first. This is the rule of the paper's published code and
    of every released model; the paper's text differs.

    Raises ValueError for `heads` under 1 and for `bias_max` not over 0 or over 126.
    """
    if heads < 1:
        raise ValueError(f"heads {heads}: a head count is at least 1")
    if not 0 < bias_max <= _MOST_BIAS_MAX:
        raise ValueError(f"bias_max {bias_max}: give over 0, at most {_MOST_BIAS_MAX}")
    power_of_two = 1 << (heads.bit_length() - 1)
    slopes = _geometric(power_of_two, bias_max)
    slopes += _geometric(2 * power_of_two, bias_max)[0::2][: heads - power_of_two]
    return torch.tensor(slopes, dtype=torch.float64).float()


def _geometric(heads: int, bias_max: float) -> list[float]:
    return [2.0 ** (-bias_max * (head + 1) / heads) for head in range(heads)]
