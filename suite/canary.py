"""The canary: a matrix product of fixed shape; its time says how fast the machine was just then."""

import torch

from suite.clock import take_slice

SIDE = 1024


def run() -> list[int]:
    """Return nanoseconds of float32 [1024, 1024] products, one a sample, for one slice."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(SIDE, SIDE, generator=generator) for _ in range(2))
    return take_slice(lambda: left @ right, calls=1)
