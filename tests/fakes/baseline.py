"""The fake baseline: bias-free attention that never fails."""

import torch
from torch import Tensor

from variants.problem import Attention, Spec
from variants.reference import attend


def prepare(spec: Spec) -> Attention:
    """Return the formula with slopes of zero."""

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        nothing = torch.zeros_like(slopes)
        return attend(q, k, v, nothing, scale=spec.scale, causal=spec.causal)

    return attention
