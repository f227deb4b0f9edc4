"""What `auto` asks: a spec as the problem that selections know."""

import math

import torch

from variants.problem import Spec
from variants.selection import Dtype, Problem

_DTYPES: dict[torch.dtype, Dtype] = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
_STEP = 16  # so few queries over a longer cache are a step of decode, more are a chunk


def problem_of(spec: Spec) -> Problem:
    """Return a spec as a problem; slopes and numbers, which it doesn't know, are the usual ones."""
    longest = max(spec.seq_lens, default=0)
    q_len, kv_len = longest or spec.q_len, longest or spec.kv_len
    a_step = spec.causal and q_len < kv_len and q_len < _STEP
    return Problem(
        heads=spec.heads,
        kv_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        q_len=q_len,
        kv_len=kv_len,
        dtype=_DTYPES[spec.dtype],
        mode="backward"
        if spec.needs_grad or spec.slopes_need_grad
        else "decode"
        if a_step
        else "forward",
        batch=len(spec.seq_lens) or spec.batch,
        causal=spec.causal,
        layout="bnhd" if spec.layout == "bnhd" else "bhnd",
        scale="1/d" if math.isclose(spec.scale, 1 / spec.head_dim) else "1/sqrt(d)",
    )
