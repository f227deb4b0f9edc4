"""Sinusoidal embeddings, added to the tokens' (Vaswani et al., arXiv 1706.03762).

In fairseq's form, which the ALiBi paper used: the first half of the channels sines, the other
cosines, of frequencies from 1 to 1/10000.
"""

import math

import torch
from torch import Tensor


def sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """Return the embeddings of positions 0 to length - 1: [length, width] float64; width even."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float64, device=device)
    rates = torch.exp(-math.log(10000.0) / (half - 1) * steps)
    angles = torch.outer(torch.arange(length, dtype=torch.float64, device=device), rates)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
