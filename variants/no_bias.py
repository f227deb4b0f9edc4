"""no_bias: stock causal attention with no bias at all, the ceiling that people assume.

Answers another question than ALiBi: it is checked against its own oracle, shown beside every table
as the baseline, and never ranked. Stores nothing. Source: torch's scaled_dot_product_attention.
"""

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.problem import Attention, Spec, Unsupported


def prepare(spec: Spec) -> Attention:
    """Return bias-free SDPA; the slopes are ignored."""
    if spec.causal and spec.q_len != spec.kv_len:
        raise Unsupported("SDPA's is_causal aligns top-left, so it needs q_len equal to kv_len")

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:  # noqa: ARG001
        return scaled_dot_product_attention(
            q, k, v, is_causal=spec.causal, scale=spec.scale, enable_gqa=q.shape[1] != k.shape[1]
        )

    return attention
