"""Specs of providers' tests, and the tensors of one."""

from typing import Any

import torch
from torch import Tensor

from variants.problem import Spec


def spec_of(**changes: Any) -> Spec:
    """Return a causal spec of 8 heads of 64 and 200 keys in float32 on the CPU, changed."""
    fields: dict[str, Any] = {
        "batch": 1,
        "heads": 8,
        "kv_heads": 8,
        "q_len": 200,
        "kv_len": 200,
        "head_dim": 64,
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "scale": changes.get("head_dim", 64) ** -0.5,
        "causal": True,
        "needs_grad": False,
    }
    return Spec(**fields | changes)


def tensors(spec: Spec) -> tuple[Tensor, Tensor, Tensor]:
    """Return normal q, k and v of a spec, on the CPU."""
    torch.manual_seed(1)
    shapes = (spec.heads, spec.q_len), (spec.kv_heads, spec.kv_len), (spec.kv_heads, spec.kv_len)
    q, k, v = (torch.randn(spec.batch, *shape, spec.head_dim).to(spec.dtype) for shape in shapes)
    return q, k, v
