"""A call with gradients: what is drawn for it, the kernel's gradients, and the formula's."""

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from variants.native import torch_operator
from variants.native.kernel_arguments import CAUSAL, EVERY_KEY, Reach
from variants.native.kernel_call import attend
from variants.native.kernel_gradients import Gradients, gradients
from variants.problem import alibi_slopes

TOLERATED = {torch.float32: 2e-5, torch.bfloat16: 4e-2, torch.float16: 5e-3}
LEAST = 0.05  # a row's norm: the terms of a row of dq, dk or dv are about 1
NAMES = ("dq", "dk", "dv", "dslopes")


class GradientProblem(NamedTuple):
    """The tensors of a call, and the gradient of its output."""

    q: Tensor
    k: Tensor
    v: Tensor
    d_out: Tensor


def draw_problem(
    *,
    heads: int = 4,
    kv_heads: int = 4,
    q_len: int = 300,
    kv_len: int = 300,
    dim: int = 32,
    value_dim: int = 32,
    batch: int = 1,
    dtype: torch.dtype = torch.float32,
) -> GradientProblem:
    generator = torch.Generator().manual_seed(q_len + kv_len)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    q, d_out = normal(batch, heads, q_len, dim), normal(batch, heads, q_len, value_dim)
    return GradientProblem(
        q, normal(batch, kv_heads, kv_len, dim), normal(batch, kv_heads, kv_len, value_dim), d_out
    )


def call_gradients(
    problem: GradientProblem,
    reach: Reach = CAUSAL,
    *,
    slopes: Tensor | None = None,
    scale: float = 0.2,
    d_lse: Tensor | None = None,
    sequences: Tensor | None = None,
) -> Gradients:
    slopes = alibi_slopes(problem.q.shape[1]) if slopes is None else slopes
    inputs = (problem.q, problem.k, problem.v, slopes)
    done = attend(*inputs, scale, reach, sequences=sequences, wants_log_sum_exp=True)
    outputs = (done.out, done.log_sum_exp)
    return gradients(problem.d_out, d_lse, *inputs, *outputs, scale, reach, sequences=sequences)


def truth(
    problem: GradientProblem,
    reach: Reach = CAUSAL,
    *,
    slopes: Tensor | None = None,
    scale: float = 0.2,
    d_lse: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return the formula's gradients of q, k, v and the slopes, in float64."""
    slopes = alibi_slopes(problem.q.shape[1]) if slopes is None else slopes
    leaves = [part.detach().double().requires_grad_() for part in (*problem[:3], slopes)]
    q, k, v, slope = leaves
    group, past = q.shape[1] // k.shape[1], k.shape[2] - q.shape[2]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    distance = torch.arange(k.shape[2]) - torch.arange(past, k.shape[2])[:, None]
    scores = scale * q @ k.mT - slope[..., None, None] * distance.abs()
    hidden = (distance > reach.after) | (-distance > reach.before)
    scores = scores.masked_fill(hidden, -math.inf)
    loss = (scores.softmax(dim=-1) @ v * problem.d_out.double()).sum()
    if d_lse is not None:
        loss = loss + (scores.logsumexp(dim=-1) * d_lse.double()).sum()
    return torch.autograd.grad(loss, leaves)


def worst_error(found: Tensor, wanted: Tensor, least: float = LEAST) -> float:
    """Return the largest error of a row, over its norm or half of the usual norm of its head."""
    if wanted.dim() < 4:
        size = torch.linalg.vector_norm(wanted).clamp(min=least)
        return float(torch.linalg.vector_norm(found - wanted) / size)
    norms = torch.linalg.vector_norm(wanted, dim=-1)
    usual = norms.square().mean(dim=-1, keepdim=True).sqrt()
    sizes = norms.maximum(usual / 2).clamp(min=least)
    return float((torch.linalg.vector_norm(found - wanted, dim=-1) / sizes).max())


def assert_right(
    found: Gradients, wanted: tuple[Tensor, ...], dtype: torch.dtype, least: float = LEAST
) -> None:
    for name, some, right in zip(NAMES, found, wanted, strict=False):
        tolerated = TOLERATED[dtype] * (20 if name == "dslopes" else 1)  # its terms cancel
        assert worst_error(cast(Tensor, some).double(), right, least) < tolerated, name


def by_torch(problem: GradientProblem, **options: Any) -> tuple[Tensor, Tensor]:
    """Return what the operator gives for q, k and v that need gradients."""
    slopes = options.get("slopes", alibi_slopes(problem.q.shape[1]))
    wants = bool(options.get("wants_lse"))
    sequences = options.get("sequences")
    call = torch_operator.operator()
    return call(*problem[:3], slopes, 0.2, EVERY_KEY, 0, sequences, None, None, wants)
