"""Tensors, the formula's answer to them in float64, and how near to it an answer has to be."""

from typing import Any

import torch
from torch import Tensor

from variants.catalog import on
from variants.problem import alibi_slopes
from variants.reference import attend

NAMES = [variant.name for variant in on("cpu") if variant.answers == "alibi"]
UNCOMPILED = [name for name in NAMES if name not in {"compile", "compile_blocks", "flex"}]
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}

SHAPES = {
    "square": (4, 4, 7, 7),
    "fewer queries than keys": (4, 4, 3, 9),
    "one query": (2, 2, 1, 8),
    "grouped heads": (6, 2, 5, 8),
    "one kv head": (3, 1, 6, 6),
}
"""(heads, kv heads, queries, keys) of small problems, by what is special about them."""


def small_problem(
    heads: int, kv_heads: int, q_len: int, kv_len: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Draw q, k, v, the slopes and dout of a problem with head_dim 4, in float64."""
    generator = torch.Generator().manual_seed(heads * 1000 + q_len)

    def normal(some_heads: int, length: int) -> Tensor:
        return torch.randn(2, some_heads, length, 4, generator=generator, dtype=torch.float64)

    q, k, v = normal(heads, q_len), normal(kv_heads, kv_len), normal(kv_heads, kv_len)
    return q, k, v, alibi_slopes(heads), normal(heads, q_len)


def tensors(
    heads: int = 4,
    kv_heads: int | None = None,
    q_len: int = 48,
    kv_len: int = 48,
    head_dim: int = 32,
    dtype: torch.dtype = torch.float32,
    batch: int = 2,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return seeded q, k and v."""
    torch.manual_seed(heads * q_len + kv_len)
    q = torch.randn(batch, heads, q_len, head_dim).to(dtype)
    k, v = (torch.randn(batch, kv_heads or heads, kv_len, head_dim).to(dtype) for _ in range(2))
    return q, k, v


def truth(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor | None = None, **how: Any) -> Tensor:
    """Return the formula in float64."""
    slopes = alibi_slopes(int(q.shape[1])) if slopes is None else slopes
    how = {"scale": q.shape[3] ** -0.5, "causal": True} | how
    return attend(q.double(), k.double(), v.double(), slopes.double(), **how)


def assert_close(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    error = torch.linalg.vector_norm(found.double() - wanted) / torch.linalg.vector_norm(wanted)
    assert error < TOLERANCE[dtype]
