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
    slopes = alibi_slopes(q.shape[1]) if slopes is None else slopes
    how = {"scale": q.shape[3] ** -0.5, "causal": True} | how
    return attend(q.double(), k.double(), v.double(), slopes.double(), **how)


def assert_close(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    error = torch.linalg.vector_norm(found.double() - wanted) / torch.linalg.vector_norm(wanted)
    assert error < TOLERANCE[dtype]
