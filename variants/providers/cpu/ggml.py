"""ggml: the flash attention of ggml, which llama.cpp runs on CPUs.

For: seeing what the kernel that most people run takes on the same tensors.
Not for: gradients, slopes other than those of the paper's code with a bias_max of 8.

Bias: ggml multiplies a float16 mask of -|i - j| by slopes that it makes from its `max_bias`, by the
rule of the paper's code for every head count. So distances are exact to 2048 keys, rounded beyond,
and masked from 65520 on; a call with other slopes is declined. Queries and results are float32,
keys and values are read as they lie. In decode a step's time includes building its graph and mask.
Source: ggml 0.20, package libggml-python (AVX2).
"""

import torch
from torch import Tensor

from variants.problem import Attention, Spec, alibi_slopes
from variants.providers.cpu.ggml_library import GgmlAttention, library
from variants.providers.dense_bias import distance_and_hidden
from variants.providers.package import Abilities
from variants.providers.slope_rules import with_its_slopes

_ABILITIES = Abilities("ggml", dtypes=("float32", "bfloat16", "float16"), bidirectional=True)
_MAX_BIAS = 8.0


def prepare(spec: Spec) -> Attention:
    """Return ggml's attention for the usual slopes."""
    _ABILITIES.decline(spec)
    return with_its_slopes("ggml", alibi_slopes(spec.heads, _MAX_BIAS), spec, shipped(spec))


def shipped(spec: Spec) -> Attention:
    """Return ggml's attention with its own slopes, whatever slopes a call has."""
    library()
    distance, hidden = distance_and_hidden(spec, spec.device)
    mask = distance.masked_fill(hidden, float("-inf"))
    shapes = (spec.heads, spec.q_len), (spec.kv_heads, spec.kv_len)
    q, k = (torch.empty(spec.batch, *shape, spec.head_dim, device="meta") for shape in shapes)
    graph = GgmlAttention(q, k.to(spec.dtype), mask.half(), spec.scale, _MAX_BIAS)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return graph(q.float(), k, v).to(spec.dtype)

    return attention
