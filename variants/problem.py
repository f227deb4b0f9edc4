"""The problem that every variant solves: its shape, its slopes, and how a variant declines it.

ALiBi attention (Press, Smith, Lewis, arXiv 2108.12409) adds a bias that falls with distance:

    out[i] = softmax_j( scale * q[i]·k[j] - slope[h] * |i - j| ) · v[j]      causal: only j <= i

Queries are aligned bottom-right: query row r stands at position r + kv_len - q_len.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

_MOST_BIAS_MAX = 126.0  # float32 rounds slopes under 2^-126, the smallest of them to 0: no bias

Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(q, k, v, slopes) -> out.

q and out [batch, heads, q_len, head_dim], k and v [batch, kv_heads, kv_len, head_dim],
slopes [heads] float32.
"""


SequenceKind = Literal["whole", "key_padding", "cu_seqlens", "kv_lens", "cu_seqlens_k"]


@dataclass(frozen=True)
class Extras:
    """What a call wants beyond dense attention. The defaults want nothing more.

    `sequences` is how the call tells its sequences apart (variants.batches.sequences). `q_offset`
    is the position of the first query; None puts the queries at the last keys. `window` is how many
    positions before and after its own a query sees; -1 is no limit. `value_dim` is v's head_dim
    where it differs from k's. `page_size` is the number of slots in a page, where k and v lie in
    pages (variants.batches.pages). `slopes_by_batch` is True for slopes [batch, heads]. `norms` is
    True where the caller keeps the norms of its cache, which a variant may use.
    """

    sequences: SequenceKind = "whole"
    q_offset: int | None = None
    window: tuple[int, int] = (-1, -1)
    value_dim: int | None = None
    page_size: int | None = None
    slopes_by_batch: bool = False
    norms: bool = False
    return_lse: bool = False
    dropout_p: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Return what is wanted, in the words of alibi_attention's arguments."""
        wanted = {
            self.sequences: self.sequences != "whole",
            "q_offset": self.q_offset is not None,
            "window": self.window != (-1, -1),
            "block_tables": self.page_size is not None,
            "v of another head_dim": self.value_dim is not None,
            "slopes [batch, heads]": self.slopes_by_batch,
            "norms": self.norms,
            "return_lse": self.return_lse,
            "dropout_p": self.dropout_p > 0,
        }
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)


DENSE = Extras()


@dataclass(frozen=True)
class Spec:
    """All that a variant knows before it sees a tensor.

    `scale` multiplies q·k. `layout` is the order of q's dimensions in memory. With `seq_lens` the
    batch is ragged (variants.batches.ragged): padded at the ends, or `packed`. A packed batch has
    batch 1, and its q_len and kv_len are sums: kv_len of `seq_lens`, q_len of `q_lens` where
    sequences have fewer queries than keys, else of `seq_lens` too.
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
    q_lens: tuple[int, ...] = ()
    packed: bool = False
    extras: Extras = DENSE


class Unsupported(Exception):  # noqa: N818 - it is an answer, not an error
    """A variant declines a spec; the text says why, and what would help."""


def alibi_slopes(
    heads: int, bias_max: float = 8.0, *, head_offset: int = 0, total_heads: int | None = None
) -> Tensor:
    """Return the slopes of `heads` heads: [heads] float32, positive.

    A tensor-parallel shard says how many heads the model has in all, and how many of them come
    before its own: alibi_slopes(8, head_offset=16, total_heads=32) is alibi_slopes(32)[16:24].

    If `heads` is a power of two, head h has slope 2^(-bias_max (h+1) / heads). Otherwise let c be
    the largest power of two below `heads`: the slopes for c heads come first, then every other
    slope for 2c heads, starting with the first. This is the rule of the paper's published code and
    of every released model; the paper's text differs.

    Raises ValueError for `heads` under 1, for `bias_max` not over 0 or over 126, and for a shard
    that is not inside of `total_heads`.
    """
    if heads < 1:
        raise ValueError(f"heads {heads}: a head count is at least 1")
    if total_heads is not None or head_offset:
        total = heads if total_heads is None else total_heads
        if not 0 <= head_offset <= total - heads:
            raise ValueError(
                f"heads {heads} from head_offset {head_offset} on: "
                f"there are {total} in all (total_heads)"
            )
        return alibi_slopes(total, bias_max)[head_offset : head_offset + heads].clone()
    if not 0 < bias_max <= _MOST_BIAS_MAX:
        raise ValueError(f"bias_max {bias_max}: give over 0, at most {_MOST_BIAS_MAX}")
    power_of_two = 1 << (heads.bit_length() - 1)
    slopes = _geometric(power_of_two, bias_max)
    slopes += _geometric(2 * power_of_two, bias_max)[0::2][: heads - power_of_two]
    return torch.tensor(slopes, dtype=torch.float64).float()


def _geometric(heads: int, bias_max: float) -> list[float]:
    return [2.0 ** (-bias_max * (head + 1) / heads) for head in range(heads)]
