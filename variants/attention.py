"""alibi_attention: one function that runs any variant of the catalog, for a model's own code."""

from typing import Literal, overload

import torch
from torch import Tensor

from variants.batches.sequences import Sequences
from variants.dispatch import auto
from variants.dispatch.answer import answer, check_name
from variants.dispatch.call import check_call
from variants.dispatch.checks.batch_arguments import Settings
from variants.dispatch.operator import trace, write_out


@overload
def alibi_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    slopes: Tensor | None = None,
    causal: bool = True,
    scale: float | None = None,
    variant: str = "auto",
    key_padding: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    kv_lens: Tensor | None = None,
    block_tables: Tensor | None = None,
    norms: Tensor | None = None,
    q_offset: int | None = None,
    window: tuple[int, int] | None = None,
    dropout_p: float = 0.0,
    return_lse: Literal[False] = False,
) -> Tensor: ...


@overload
def alibi_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    slopes: Tensor | None = None,
    causal: bool = True,
    scale: float | None = None,
    variant: str = "auto",
    key_padding: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    kv_lens: Tensor | None = None,
    block_tables: Tensor | None = None,
    norms: Tensor | None = None,
    q_offset: int | None = None,
    window: tuple[int, int] | None = None,
    dropout_p: float = 0.0,
    return_lse: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def alibi_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    slopes: Tensor | None = None,
    causal: bool = True,
    scale: float | None = None,
    variant: str = "auto",
    key_padding: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    kv_lens: Tensor | None = None,
    block_tables: Tensor | None = None,
    norms: Tensor | None = None,
    q_offset: int | None = None,
    window: tuple[int, int] | None = None,
    dropout_p: float = 0.0,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return softmax(scale * q k^T - slope |i - j|) v: [batch, heads, q_len, value_dim].

    q is [batch, heads, q_len, head_dim], k [batch, kv_heads, kv_len, head_dim], v the same but for
    its value_dim. All three are float32, bfloat16 or float16, on one device; so is the output.

    slopes: float32 [heads] or [batch, heads], at least 0. The default is the standard rule for that
        head count (variants.problem.alibi_slopes, which has it for tensor-parallel shards too).
    causal: a query sees no key after its own position.
    scale: of q k^T, positive. The default is 1 / sqrt(head_dim).
    variant: an ALiBi variant of the catalog. "auto" picks the fastest that was measured for this
        shape on this device (variants.dispatch.auto), or one that takes the arguments below.
    key_padding: bool [batch, kv_len], True for padding, anywhere. Positions count real tokens.
    cu_seqlens: int32 [sequences + 1], for sequences packed one after another in a batch of 1: where
        each begins, and where the last ends. Each is attended to alone.
    cu_seqlens_k: int32 [sequences + 1], beside cu_seqlens: where the keys of each packed sequence
        begin. Its queries are its last tokens, so that steps of decode and chunks of prefills can
        share a call.
    kv_lens: int32 [batch], how many keys of a static cache are filled. Queries are the last of
        those, so write the new keys before the call.
    block_tables: int32 [batch, pages of a sequence], beside kv_lens, for a cache in pages: k is
        [pages, kv_heads, page_size, head_dim], v the same but for its value_dim, and slot s of a
        sequence lies in page block_tables[sequence, s // page_size] at s % page_size.
    norms: float32 [batch, kv_heads, 2, blocks], how large the keys and values of a cache are, from
        variants.batches.cache_norms. With them a step of native_window reads the part of the cache
        that can matter. No answer depends on them, unless they are smaller than the truth.
    q_offset: the position of the first query, counted in (real) keys, where the queries are not the
        last kv positions: chunks of keys of context parallelism, cross-attention. May be negative.
    window: (before, after), how many positions a query sees on each side of its own; -1 is no
        limit, and causal attention sees none after it.
    dropout_p: the share of weights set to 0, as in torch's own function.
    return_lse: return (out, log_sum_exp); the second is float32 [batch, heads, q_len], the natural
        logarithm of each row's sum of exp(score).

    Without q_offset, query row r stands in slot r + kv_len - q_len of the keys, and where that slot
    is padding, so is the query. Rows of padding, and rows that see no key, are 0, and -inf in the
    log-sum-exp. What padding holds reaches nothing, forward or backward, not even NaN.

    Prepared attention is cached for the 128 most recent shapes, up to 1 GiB; the newest is always
    kept. Slopes may be changed in place between calls. On CUDA do not change slopes through
    `.data`: the change can't be seen, and the old mask would be used.

    Under autocast q, k and v are cast to autocast's dtype, as in torch's own attention. In
    torch.compile and torch.export the call is one operator (variants.dispatch.operator), in an ONNX
    graph the formula in plain operations. A CUDA graph can capture the call if a call for the same
    shape, dtype and settings was made before the capture. Nothing that is made under a trace or a
    transform of torch is cached.

    Raises ValueError for tensors that don't fit together. Raises variants.problem.Unsupported where
    the variant can't do this; the text says what would help.
    """
    settings = Settings(causal, scale, q_offset, window, dropout_p, return_lse)
    sequences = Sequences(key_padding, cu_seqlens, kv_lens, norms, cu_seqlens_k, block_tables)
    check_name(variant)
    if torch.onnx.is_in_onnx_export():
        out, log_sum_exp = write_out(q, k, v, slopes, sequences, settings)
    elif torch.compiler.is_compiling():
        out, log_sum_exp = trace(q, k, v, slopes, sequences, settings, variant)
    else:
        out, log_sum_exp = answer(check_call(q, k, v, slopes, sequences, settings), variant)
    return (out, log_sum_exp) if return_lse else out


def variant_for(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    slopes: Tensor | None = None,
    causal: bool = True,
    scale: float | None = None,
    key_padding: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    kv_lens: Tensor | None = None,
    block_tables: Tensor | None = None,
    norms: Tensor | None = None,
    q_offset: int | None = None,
    window: tuple[int, int] | None = None,
    dropout_p: float = 0.0,
    return_lse: bool = False,
) -> str:
    """Return the name of the variant that `alibi_attention` uses for such tensors under "auto".

    It is the variant that took the last call for such a shape, but for calls in a trace or a
    transform. Before the first call it is the one that will be tried first. Takes the arguments of
    `alibi_attention` but `variant`, and raises the same errors.
    """
    settings = Settings(causal, scale, q_offset, window, dropout_p, return_lse)
    sequences = Sequences(key_padding, cu_seqlens, kv_lens, norms, cu_seqlens_k, block_tables)
    return auto.choice(check_call(q, k, v, slopes, sequences, settings).spec)
