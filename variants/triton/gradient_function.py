"""Attention that torch can differentiate: the forward's launch, and the backward's as its rule."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from variants.triton.launch import LaunchResult, attend
from variants.triton.launch_gradients import gradients
from variants.triton.launch_split import attend_mixed, attend_split, is_mixed, is_split


class CallOptions(NamedTuple):
    """What a call does beside its tensors; `runs` are as in variants.triton.launch.attend."""

    scale: float
    causal: bool
    runs: Tensor | None = None
    norms: Tensor | None = None


def differentiable_attend(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, options: CallOptions
) -> tuple[Tensor, Tensor]:
    """Return the output and the log-sum-exp of variants.triton.launch.attend, with gradients."""
    attention: Any = _Launches
    return cast(tuple[Tensor, Tensor], attention.apply(q, k, v, slopes, options))


def launch(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, options: CallOptions) -> LaunchResult:
    """Return what the launch computes that suits the call: with its keys split, or without."""
    inputs, runs = (q, k, v, slopes, options.scale), options.runs
    if is_split(q, k, runs, causal=options.causal):
        return attend_split(*inputs, runs=runs, norms=options.norms)
    if runs is not None and is_mixed(q, k, runs, causal=options.causal):
        return attend_mixed(*inputs, runs=runs, norms=options.norms)
    return attend(*inputs, causal=options.causal, runs=runs, norms=options.norms)


class _Launches(torch.autograd.Function):
    """The two launches; a gradient has no gradient in turn."""

    @staticmethod
    def forward(
        context: Any, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, options: CallOptions
    ) -> tuple[Tensor, Tensor]:
        done = launch(q, k, v, slopes, options)
        context.save_for_backward(q, k, v, slopes, done.out, done.log_sum_exp, options.runs)
        context.options = options
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
            *(q, k, v, slopes, out, log_sum_exp, context.options.scale),
            causal=context.options.causal,
            runs=runs,
            wants_slopes=needs[3],
        )
        return *(done[place] if needs[place] else None for place in range(4)), None
