"""What a caller says about the sequences of a batch, and attention that takes it."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Sequences(NamedTuple):
    """Which tokens belong together, and how large the keys and values of a cache are.

    At most one of the first three is given; without one all tokens are real.

    `key_padding` is bool [batch, kv_len]: True is padding. `cu_seqlens` is int32 [sequences + 1]:
    where each packed sequence of a batch of 1 begins, and where the last ends. `kv_lens` is int32
    [batch]: how many keys of each cache are filled, from the first on. `norms` are float32 [batch,
    kv_heads, 2, blocks] (variants.batches.cache_norms); no answer depends on them. `cu_seqlens_k`,
    beside `cu_seqlens`, says where the keys of each packed sequence begin, where they are more than
    its queries; then `cu_seqlens` speaks of queries alone. `block_tables`, beside `kv_lens`, is
    int32 [batch, pages]: k and v lie in pages (variants.batches.pages).
    """

    key_padding: Tensor | None = None
    cu_seqlens: Tensor | None = None
    kv_lens: Tensor | None = None
    norms: Tensor | None = None
    cu_seqlens_k: Tensor | None = None
    block_tables: Tensor | None = None


GeneralAttention = Callable[[Tensor, Tensor, Tensor, Tensor, Sequences], tuple[Tensor, Tensor]]
"""(q, k, v, slopes, sequences) -> (out, log_sum_exp).

q is [batch, heads, q_len, head_dim], k [batch, kv_heads, kv_len, head_dim], v and out the same but
for their value_dim; with block_tables k and v lie in pages. slopes are [heads] or [batch, heads]
float32. log_sum_exp is [batch, heads, q_len] float32, natural, or empty where it is not wanted.
Rows that see no key are 0 in out and -inf in it.
"""
