"""flash_attn: FlashAttention 2 with its alibi_slopes.

For: training and prefill on NVIDIA GPUs from Ampere on.
Not for: float32, gradients of the slopes.

Bias: -slope * |row + kv_len - q_len - key|, aligned bottom-right, and right for bidirectional
attention too. Its causal code adds slope * key, which may cost half-precision inputs digits near
65536 keys. Not yet seen on a GPU. Source: flash-attn 2.8, flash_attn_func.
"""

from torch import Tensor

from variants.problem import Attention, Spec
from variants.providers.package import Abilities, package

_ABILITIES = Abilities(
    "FlashAttention 2",
    device="cuda",
    dtypes=("bfloat16", "float16"),
    bidirectional=True,
    gradients=True,
    traceable=True,
    head_dim_multiple=8,
)


def prepare(spec: Spec) -> Attention:
    """Return flash_attn_func for tensors with heads before rows."""
    _ABILITIES.decline(spec)
    flash = package("flash_attn", "pip install flash-attn --no-build-isolation")

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        rows = (tensor.transpose(1, 2) for tensor in (q, k, v))
        out: Tensor = flash.flash_attn_func(
            *rows, softmax_scale=spec.scale, causal=spec.causal, alibi_slopes=slopes
        )
        return out.transpose(1, 2)

    return attention
