"""sdpa_mask: SDPA with the relative bias precomputed as a dense mask.

For: CUDA where flex is not wanted, dropout, and what native_window declines on a CPU.
Not for: long sequences: the mask grows with the square of the length.

Stores a [1, heads, q_len, kv_len] mask with -inf above the diagonal, float32 on a CPU and else in
q's dtype. The first call builds it, later calls with the same slopes reuse it, and every call reads
it from memory. A kernel can't tell that a mask is causal, so pairs above the diagonal are computed
too. A mask in half precision rounds slope * (j - i). That is harmless while values are of one size,
because it is small where the weights are large; values that are 1000 times larger far away lose
digits.

torch chooses the kernel. On CUDA the option `backend` can force one instead; flash takes no mask
there. `efficient` and `cudnn` are fused and store no scores; `efficient` copies the mask at every
call if kv_len is no multiple of 8. `math` stores [batch, heads, q_len, kv_len] scores and weights,
in float32 for half-precision inputs. Source: torch's documentation of attn_mask and of sdpa_kernel.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.batches.masked_sdpa import prepare_masked
from variants.batches.ragged import ragged
from variants.batches.sequences import GeneralAttention
from variants.problem import Attention, Spec, Unsupported
from variants.sdpa.forced_backend import ONLY_CUDA, force_backend
from variants.slopes_cache import cache_by_slopes


def prepare(spec: Spec, backend: str = "any") -> Attention:
    """Return SDPA with a dense mask, on the backend that torch picks or on the `backend` named.

    Raises Unsupported for a named backend off CUDA. A call raises it where torch refuses that
    backend.
    """
    if spec.seq_lens:
        return ragged(partial(prepare, backend=backend), spec)
    if backend != "any" and spec.device.type != "cuda":
        raise Unsupported(f"{ONLY_CUDA[backend]}; sdpa_mask runs on the CPU")

    # torch's kernels for GPUs, and for learned masks, take q's dtype only.
    is_wide = spec.device.type == "cpu" and not spec.slopes_need_grad
    mask_dtype = torch.float32 if is_wide else spec.dtype

    @cache_by_slopes
    def mask(slopes: Tensor) -> Tensor:
        keys = torch.arange(spec.kv_len, device=slopes.device)
        queries = torch.arange(spec.kv_len - spec.q_len, spec.kv_len, device=slopes.device)
        queries = queries.clamp(min=0)  # rows before the first key: softmax cancels the shift
        distance = keys[None, :] - queries[:, None]  # [q_len, kv_len]
        bias = slopes[:, None, None] * -distance.abs()  # [heads, q_len, kv_len]
        if spec.causal:
            bias = bias.masked_fill(distance > 0, float("-inf"))
        return bias[None].to(mask_dtype)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask(slopes),
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
        )

    return attention if backend == "any" else force_backend(attention, backend)


def prepare_general(spec: Spec, backend: str = "any") -> GeneralAttention:
    """Return SDPA with a mask made from sequences, on the backend that torch picks.

    Raises Unsupported for a named backend.
    """
    if backend != "any":
        raise Unsupported(f"{', '.join(spec.extras.names)}: sdpa_mask, without a backend, takes it")
    return prepare_masked(spec)
