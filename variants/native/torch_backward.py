"""The gradients of the C++ kernel's operator: an operator of its own, and torch's rule for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import _SingleLevelFunction
from torch.utils.flop_counter import register_flop_formula

from variants.batches.pages import gather
from variants.first_order import no_forward_derivative, no_second_gradient
from variants.native.call_checks import (
    need_grad,
    refuse_outputs,
    refuse_overlaps,
    refuse_sequences,
    refuse_shapes,
)
from variants.native.kernel_arguments import Reach
from variants.native.kernel_gradients import gradients
from variants.problem import Unsupported
from variants.tracing import call_by_entry, fake_gradients, gradient_operations, has_tangent

_SCHEMA = (
    "native_window_backward(Tensor d_out, Tensor? d_log_sum_exp, Tensor q, Tensor k, Tensor v, "
    "Tensor slopes, Tensor out, Tensor log_sum_exp, float scale, int before, int after, "
    "Tensor? sequences) -> (Tensor, Tensor, Tensor, Tensor)"
)


def register_backward(fragment: torch.library.Library) -> None:
    """Define the backward's operator."""
    fragment.define(_SCHEMA)
    fragment.impl("native_window_backward", _on_cpu, "CPU")
    fragment.impl("native_window_backward", _without_gradients, "Autograd")
    torch.library.register_fake("alibi_bench::native_window_backward", fake_gradients, lib=fragment)
    operation = torch.ops.alibi_bench.native_window_backward.default
    torch.library.register_vmap(operation, call_by_entry(operation), lib=fragment)
    register_flop_formula(torch.ops.alibi_bench.native_window_backward)(_backward_operations)


def with_gradients(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *options: object
) -> tuple[Tensor, Tensor]:
    """Call the operator so that torch knows its gradients.

    Raises Unsupported where a forward-mode derivative is wanted: without this rule torch would take
    the output for a constant.
    """
    tensors = (q, k, v, slopes)
    if has_tangent(*tensors):
        raise no_forward_derivative("native_window")
    if any(map(_is_tracked_twice, tensors)):
        raise Unsupported("native_window has one gradient at a time in torch.func; eager has more")
    if torch.is_grad_enabled() and need_grad(*tensors):
        *how, block_tables, wants_log_sum_exp = options
        if isinstance(block_tables, Tensor):  # the backward reads no pages
            k, v = (gather(part, block_tables) for part in (k, v))
        attention: Any = _Attention
        with _allowed_in_transforms():
            out, log_sum_exp = attention.apply(q, k, v, slopes, *how)
        return out, log_sum_exp if wants_log_sum_exp else log_sum_exp.detach().new_empty(0)
    with torch._C._AutoDispatchBelowAutograd():
        return _forward()(q, k, v, slopes, *options)


def _is_tracked_twice(tensor: Tensor) -> bool:
    """Return whether a gradient around torch.func's innermost wants this tensor's too.

    It would be dropped without a word, because the kernel is called below all autograd.
    """
    functorch = torch._C._functorch
    if not functorch.is_gradtrackingtensor(tensor):
        return False
    inner = functorch.get_unwrapped(tensor)
    return inner.requires_grad or functorch.is_gradtrackingtensor(inner)


def _allowed_in_transforms() -> AbstractContextManager[None]:
    if not torch._C._are_functorch_transforms_active():
        return nullcontext()
    from torch._functorch import autograd_function

    allowed: Any = vars(autograd_function)["enable_single_level_autograd_function"]
    return cast(AbstractContextManager[None], allowed())


def _forward() -> Callable[..., tuple[Tensor, Tensor]]:
    operation: Any = torch.ops.alibi_bench.native_window.default
    return cast(Callable[..., tuple[Tensor, Tensor]], operation)


def _backward() -> Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]:
    operation: Any = torch.ops.alibi_bench.native_window_backward.default
    return cast(Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]], operation)


class _Attention(_SingleLevelFunction):
    """The operator, and its log-sum-exp always: the backward needs it.

    A torch.autograd.Function would hand itself to torch.func's transforms, but they have handled a
    call already once it comes here.
    """

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *options: Any
    ) -> tuple[Tensor, Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            return _forward()(q, k, v, slopes, *options, None, True)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *tensors, scale, before, after, sequences, _norms = inputs
        context.save_for_backward(*tensors, *output, sequences)
        context.options = (scale, before, after)
        context.set_materialize_grads(False)

    @staticmethod
    def backward(
        context: Any, d_out: Tensor | None, d_log_sum_exp: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *saved, sequences = context.saved_tensors
        d_out = torch.zeros_like(saved[4]) if d_out is None else d_out
        found = _backward()(d_out, d_log_sum_exp, *saved, *context.options, sequences)
        return *(found[i] if context.needs_input_grad[i] else None for i in range(4)), *[None] * 5


def _without_gradients(*arguments: Any) -> tuple[Tensor, ...]:
    """Call the backward so that its results refuse to be differentiated.

    Without this rule torch would take them for constants, and drop a penalty on gradients.
    """
    tensors = [part for part in arguments if isinstance(part, Tensor)]
    if torch.is_grad_enabled() and need_grad(*tensors):
        refusing: Any = _WithoutGradients
        with _allowed_in_transforms():
            return cast(tuple[Tensor, ...], refusing.apply(*arguments))
    with torch._C._AutoDispatchBelowAutograd():
        return _backward()(*arguments)


class _WithoutGradients(_SingleLevelFunction):
    """The backward's operator, whose gradient says that there is none."""

    @staticmethod
    def forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            return _backward()(*arguments)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Store nothing."""

    @staticmethod
    def backward(context: Any, *gradients: Tensor | None) -> tuple[None, ...]:  # noqa: ARG004
        raise no_second_gradient("native_window")


def _on_cpu(
    d_out: Tensor,
    d_log_sum_exp: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    out: Tensor,
    log_sum_exp: Tensor,
    scale: float,
    before: int,
    after: int,
    sequences: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    refuse_shapes(q, k, v, slopes, before, after)
    refuse_outputs(d_out, d_log_sum_exp, out, log_sum_exp, (*q.shape[:3], v.shape[3]))
    if sequences is not None:
        refuse_sequences(sequences, q, k.shape[2])
        refuse_overlaps(sequences)
    reach = Reach(before, after)
    done = gradients(
        *(d_out, d_log_sum_exp, q, k, v, slopes, out, log_sum_exp, scale, reach),
        sequences=sequences,
    )
    return done.d_q, done.d_k, done.d_v, done.d_slopes


def _backward_operations(
    d_out: list[int],  # noqa: ARG001
    d_log_sum_exp: list[int] | None,  # noqa: ARG001
    *shapes: list[int],
    **_: object,
) -> int:
    return gradient_operations(*shapes[:3])
