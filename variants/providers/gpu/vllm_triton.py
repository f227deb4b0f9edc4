"""vllm_triton: vLLM's Triton attention over a paged cache: the caller's, or one that a call fills.

For: seeing what vLLM's kernel with ALiBi takes, over a cache in pages (`--layout paged`).
Not for: gradients, bidirectional attention.

Bias: slope * (key - context length), signed, so bidirectional attention is declined. The kernel
reads pages of a multiple of 16 slots where they lie; whoever hands over whole k and v pays for a
copy into pages. Not yet seen on a GPU. Source: vLLM 0.32, unified_attention.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from variants.batches.sequences import GeneralAttention, Sequences
from variants.problem import DENSE, Attention, Spec, Unsupported
from variants.providers.package import Abilities, package

READS_PAGES = True

_ABILITIES = Abilities("vLLM's Triton kernel", device="cuda", dtypes=("bfloat16", "float16"))
_PAGE = 16


def prepare(spec: Spec) -> Attention:
    """Return unified_attention over pages that each call fills."""
    kernel = _kernel(spec)
    pages = -(-spec.kv_len // _PAGE)

    def to_pages(tensor: Tensor) -> Tensor:
        rows = pad(tensor.transpose(1, 2), (0, 0, 0, 0, 0, pages * _PAGE - spec.kv_len))
        return rows.reshape(spec.batch * pages, _PAGE, spec.kv_heads, spec.head_dim)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        kv_lens = torch.full((spec.batch,), spec.kv_len, dtype=torch.int32, device=q.device)
        tables = _numbers(spec.batch * pages, q).view(spec.batch, pages)
        return _attend(kernel, spec, q, (to_pages(k), to_pages(v)), slopes, kv_lens, tables)

    return attention


def prepare_general(spec: Spec) -> GeneralAttention:
    """Return unified_attention over the caller's pages, which it reads where they lie."""
    slots = spec.extras.page_size
    is_paged = slots and spec.extras == replace(DENSE, sequences="kv_lens", page_size=slots)
    kernel = _kernel(replace(spec, extras=DENSE) if is_paged else spec)
    if slots and slots % _PAGE:
        raise Unsupported(f"vLLM's pages have a multiple of {_PAGE} slots, not {slots}")

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        slots_first = k.transpose(1, 2), v.transpose(1, 2)
        kv_lens, tables = sequences.kv_lens, sequences.block_tables
        return _attend(kernel, spec, q, slots_first, slopes, kv_lens, tables), q.new_empty(0)

    return attention


def _kernel(spec: Spec) -> Any:
    _ABILITIES.decline(spec)
    return package("vllm.v1.attention.ops.triton_unified_attention", "pip install vllm")


def _numbers(count: int, like: Tensor) -> Tensor:
    return torch.arange(count, dtype=torch.int32, device=like.device)


def _attend(
    kernel: Any,
    spec: Spec,
    q: Tensor,
    pages: tuple[Tensor, Tensor],
    slopes: Tensor,
    kv_lens: Tensor | None,
    block_tables: Tensor | None,
) -> Tensor:
    """Return out [batch, heads, q_len, head_dim]; pages are [pages, slots, kv_heads, head_dim]."""
    rows = q.transpose(1, 2).reshape(-1, spec.heads, spec.head_dim).contiguous()
    out = torch.empty_like(rows)
    kernel.unified_attention(
        q=rows,
        k=pages[0],
        v=pages[1],
        out=out,
        cu_seqlens_q=_numbers(spec.batch + 1, q) * spec.q_len,
        max_seqlen_q=spec.q_len,
        seqused_k=kv_lens,
        max_seqlen_k=spec.kv_len,
        softmax_scale=spec.scale,
        causal=True,
        window_size=(-1, -1),
        block_table=block_tables,
        softcap=0.0,
        q_descale=None,
        k_descale=None,
        v_descale=None,
        alibi_slopes=slopes,
    )
    return out.view(spec.batch, spec.q_len, spec.heads, spec.head_dim).transpose(1, 2)
