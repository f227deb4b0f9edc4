"""The slopes of a rule: the published code's, and the mistakes that a control is tested with."""

import math

import torch
from torch import Tensor

from suite.quality.methods import SlopeConvention
from variants.problem import alibi_slopes


def slopes_by(rule: SlopeConvention, heads: int, head_dim: int) -> Tensor:
    """Return the slopes that a rule gives: [heads] float32; zeros for "dropped".

    "literal" is the rule of the paper's text, 2^(-8 (h+1) / heads), for any head count. The others
    change the rule of its published code: twice the bias_max, a scale of 1/sqrt(head_dim) as if the
    bias belonged to q·k, and the heads in reverse order.
    """
    match rule:
        case "standard":
            return alibi_slopes(heads)
        case "bias_max_16":
            return alibi_slopes(heads, 16.0)
        case "over_sqrt_d":
            return alibi_slopes(heads) / math.sqrt(head_dim)
        case "reversed":
            return alibi_slopes(heads).flip(0)
        case "literal":
            return torch.exp2(-8 * torch.arange(1, heads + 1) / heads)
        case "dropped":
            return torch.zeros(heads)
