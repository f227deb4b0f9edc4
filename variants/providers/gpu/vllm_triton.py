"""vllm_triton: vLLM's Triton attention over a paged cache, which each call fills.

For: seeing what vLLM's kernel with ALiBi takes where k and v lie as torch has them.
Not for: gradients, bidirectional attention.

Bias: slope * (key - context length), signed, so bidirectional attention is declined. The kernel
reads pages of 16 slots; whoever hands over whole k and v pays for a copy into them. Not yet seen on
a GPU. Source: vLLM 0.32, unified_attention.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from variants.problem import Attention, Spec
from variants.providers.package import Abilities, package

_ABILITIES = Abilities("vLLM's Triton kernel", device="cuda", dtypes=("bfloat16", "float16"))
_PAGE = 16


def prepare(spec: Spec) -> Attention:
    """Return unified_attention over pages that each call fills."""
    _ABILITIES.decline(spec)
    kernel = package("vllm.v1.attention.ops.triton_unified_attention", "pip install vllm")
    pages = -(-spec.kv_len // _PAGE)

    def paged(tensor: Tensor) -> Tensor:
        rows = pad(tensor.transpose(1, 2), (0, 0, 0, 0, 0, pages * _PAGE - spec.kv_len))
        return rows.reshape(spec.batch * pages, _PAGE, spec.kv_heads, spec.head_dim)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        def numbers(count: int) -> Tensor:
            return torch.arange(count, dtype=torch.int32, device=q.device)

        rows = q.transpose(1, 2).reshape(-1, spec.heads, spec.head_dim).contiguous()
        out = torch.empty_like(rows)
        kernel.unified_attention(
            q=rows,
            k=paged(k),
            v=paged(v),
            out=out,
            cu_seqlens_q=numbers(spec.batch + 1) * spec.q_len,
            max_seqlen_q=spec.q_len,
            seqused_k=torch.full_like(numbers(spec.batch), spec.kv_len),
            max_seqlen_k=spec.kv_len,
            softmax_scale=spec.scale,
            causal=True,
            window_size=(-1, -1),
            block_table=numbers(spec.batch * pages).view(spec.batch, pages),
            softcap=0.0,
            q_descale=None,
            k_descale=None,
            v_descale=None,
            alibi_slopes=slopes,
        )
        return out.view(spec.batch, spec.q_len, spec.heads, spec.head_dim).transpose(1, 2)

    return attention
