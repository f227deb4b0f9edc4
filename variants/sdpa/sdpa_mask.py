"""sdpa_mask: SDPA with the relative bias precomputed as a dense mask.

For: bidirectional attention, training, and CUDA where flex is not wanted.
Not for: long sequences: the mask grows with the square of the length.

Stores a [1, heads, q_len, kv_len] mask in q's dtype with -inf above the diagonal. The first call
builds it, later calls with the same slopes reuse it, and every call reads it from memory. A kernel
can't tell that a mask is causal, so pairs above the diagonal are computed too. In half precision
slope * (j - i) rounds harmlessly, because it is small where the weights are large.

torch chooses the kernel. On CUDA the option `backend` can force one instead; flash takes no mask
there. `efficient` and `cudnn` are fused and store no scores; `efficient` copies the mask at every
call if kv_len is no multiple of 8. `math` stores [batch, heads, q_len, kv_len] scores and weights,
in float32 for half-precision inputs. Source: torch's documentation of attn_mask and of sdpa_kernel.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from variants.problem import Attention, Spec, Unsupported
from variants.ragged import ragged
from variants.slopes_cache import cache_by_slopes

_BACKENDS = {
    "efficient": (SDPBackend.EFFICIENT_ATTENTION, "the efficient backend is CUDA's"),
    "cudnn": (SDPBackend.CUDNN_ATTENTION, "the cuDNN backend is CUDA's"),
    "math": (SDPBackend.MATH, "the math backend is forced on CUDA only"),
}


def prepare(spec: Spec, backend: str = "any") -> Attention:
    """Return SDPA with a dense mask, on the backend that torch picks or on the `backend` named.

    Raises Unsupported for a named backend off CUDA. A call raises it where torch refuses that
    backend.
    """
    if spec.seq_lens:
        return ragged(partial(prepare, backend=backend), spec)
    if backend != "any" and spec.device.type != "cuda":
        raise Unsupported(f"{_BACKENDS[backend][1]}; sdpa_mask runs on the CPU")

    @cache_by_slopes
    def mask(slopes: Tensor) -> Tensor:
        keys = torch.arange(spec.kv_len, device=slopes.device)
        queries = torch.arange(spec.kv_len - spec.q_len, spec.kv_len, device=slopes.device)
        queries = queries.clamp(min=0)  # rows before the first key: softmax cancels the shift
        distance = keys[None, :] - queries[:, None]  # [q_len, kv_len]
        bias = slopes[:, None, None] * -distance.abs()  # [heads, q_len, kv_len]
        if spec.causal:
            bias = bias.masked_fill(distance > 0, float("-inf"))
        return bias[None].to(spec.dtype)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask(slopes),
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
        )

    return attention if backend == "any" else _force_backend(attention, backend)


def _force_backend(attention: Attention, backend: str) -> Attention:
    on_backend: Attention = sdpa_kernel(_BACKENDS[backend][0])(attention)

    def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        try:
            return on_backend(q, k, v, slopes)
        except RuntimeError as refusal:
            if "No available kernel" not in str(refusal):
                raise
            why = _reasons(partial(on_backend, q, k, v, slopes), backend)
            raise Unsupported(f"torch's {backend} backend refuses: {why}") from refusal

    return attend


def _reasons(call: Callable[[], object], backend: str) -> str:
    """Repeat a call that torch refused and return its warnings about the backend: the reasons."""
    with warnings.catch_warnings(record=True) as caught, suppress(RuntimeError):
        warnings.simplefilter("always")
        call()
    reasons, heading = [], ""
    for text in (str(warning.message).partition(" (Triggered")[0] for warning in caught):
        if text.endswith("not used because:"):
            heading = text.lower()
        elif backend in heading:
            reasons.append(text)
    return " ".join(reasons) or "it gives no reason"
