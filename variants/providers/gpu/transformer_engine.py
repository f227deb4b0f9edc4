"""transformer_engine: NVIDIA's DotProductAttention with its ALiBi bias.

For: training with TransformerEngine, which picks among FlashAttention 2, cuDNN and its own kernel.
Not for: float32, gradients of the slopes.

Bias: of the caller's slopes, aligned bottom-right. FlashAttention 3 takes no ALiBi, so it is never
picked. Not yet seen on a GPU. Source: transformer_engine.pytorch.DotProductAttention.
"""

from torch import Tensor

from variants.problem import Attention, Spec
from variants.providers.package import Abilities, package

_INSTALL = "pip install --no-build-isolation 'transformer_engine[pytorch]'"
_ABILITIES = Abilities(
    "TransformerEngine",
    device="cuda",
    dtypes=("bfloat16", "float16"),
    bidirectional=True,
    gradients=True,
    traceable=True,
    head_dim_multiple=8,
)


def prepare(spec: Spec) -> Attention:
    """Return DotProductAttention for tensors with heads before rows."""
    _ABILITIES.decline(spec)
    engine = package("transformer_engine.pytorch", _INSTALL)
    module = engine.DotProductAttention(
        spec.heads,
        spec.head_dim,
        num_gqa_groups=spec.kv_heads,
        attention_dropout=0.0,
        qkv_format="bshd",
        attn_mask_type="causal_bottom_right" if spec.causal else "no_mask",
        softmax_scale=spec.scale,
    )

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        rows = (tensor.transpose(1, 2).contiguous() for tensor in (q, k, v))
        out: Tensor = module(*rows, core_attention_bias_type="alibi", alibi_slopes=slopes)
        return out.view(spec.batch, spec.q_len, spec.heads, spec.head_dim).transpose(1, 2)

    return attention
