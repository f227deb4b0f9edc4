"""Attention of short rows for training: six matrix products, and one softmax each way.

For methods without ALiBi's slopes. Torch's backward of SDPA in bfloat16 on a CPU took 68% of a step
of this model, so the gradient is written out here. Scores and softmax are float32.
"""

from typing import Any

import torch
from torch import Tensor


class ShortAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(head_dim) + bias) v, with a gradient for the bias too if it has one."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Return out, like q; bias is [heads or 1, length, length] float32, -inf ahead."""
        ctx.scale = q.shape[-1] ** -0.5
        scores = torch.matmul(q * ctx.scale, k.mT).float().add_(bias)
        weights = torch.softmax(scores, dim=-1).to(q.dtype)
        ctx.save_for_backward(q, k, v, weights)
        return torch.matmul(weights, v)

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return the gradients of q, k, v and of a bias that is learned."""
        q, k, v, weights = ctx.saved_tensors
        dscores = torch._softmax_backward_data(torch.matmul(dout, v.mT), weights, -1, weights.dtype)
        dbias = dscores.float().sum(0) if ctx.needs_input_grad[3] else None
        dv = torch.matmul(weights.mT, dout)
        dq, dk = torch.matmul(dscores, k), torch.matmul(dscores.mT, q)
        return dq.mul_(ctx.scale), dk.mul_(ctx.scale), dv, dbias
