"""The canary: a matrix product of fixed shape; its time says how fast the machine was just then."""

import torch

from suite.clock import take_slice

SIDE = 1024
WARM_SLICES = 5


def run() -> list[int]:
    """Return nanoseconds of float32 [1024, 1024] products, one a sample, for one slice.

    Slices go before it unrecorded: here the first 0.15 s of work ran up to 1.4 times slower.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(SIDE, SIDE, generator=generator) for _ in range(2))
    for _ in range(WARM_SLICES):
        take_slice(lambda: left @ right, calls_per_sample=1)
    return take_slice(lambda: left @ right, calls_per_sample=1)[0]
