"""Attention that torch can differentiate: the forward's launch, and the backward's as its rule."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from variants.triton.launch import Launched, attend
from variants.triton.launch_gradients import gradients
from variants.triton.launch_split import attend_split, is_split


class How(NamedTuple):
    """What a call does beside its tensors; `runs` are as in variants.triton.launch.attend."""

    scale: float
    causal: bool
    runs: Tensor | None = None
    norms: Tensor | None = None


def differentiable_attend(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, how: How
) -> tuple[Tensor, Tensor]:
    """Return the output and the log-sum-exp of variants.triton.launch.attend, with gradients."""
    attention: Any = _Launches
    return cast(tuple[Tensor, Tensor], attention.apply(q, k, v, slopes, how))


def launched(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, how: How) -> Launched:
    """Return what the launch computes that suits the call: with its keys split, or without."""
    inputs = (q, k, v, slopes, how.scale)
    if is_split(q, k, how.runs, causal=how.causal):
        return attend_split(*inputs, runs=how.runs, norms=how.norms)
    return attend(*inputs, causal=how.causal, runs=how.runs, norms=how.norms)


class _Launches(torch.autograd.Function):
    """The two launches; a gradient has no gradient in turn."""

    @staticmethod
    def forward(
        context: Any, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, how: How
    ) -> tuple[Tensor, Tensor]:
        done = launched(q, k, v, slopes, how)
        context.save_for_backward(q, k, v, slopes, done.out, done.log_sum_exp, how.runs)
        context.how = how
        context.set_materialize_grads(False)
        return done.out, done.log_sum_exp

    @staticmethod
    @once_differentiable
    def backward(
        context: Any, d_out: Tensor | None, d_log_sum_exp: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        q, k, v, slopes, out, log_sum_exp, runs = context.saved_tensors
        needs = context.needs_input_grad
        done = gradients(
            torch.zeros_like(out) if d_out is None else d_out,
            d_log_sum_exp,
            *(q, k, v, slopes, out, log_sum_exp, context.how.scale),
            causal=context.how.causal,
            runs=runs,
            wants_slopes=needs[3],
        )
        return *(done[place] if needs[place] else None for place in range(4)), None
