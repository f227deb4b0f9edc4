"""Gradients that have none in turn: to ask for one is refused in words, not in a kernel's name."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd import Function

from variants.problem import Unsupported
from variants.tracing import is_traced


def no_second_gradient(name: str) -> Unsupported:
    """Return what says that a variant's gradient has none, and which has one."""
    return Unsupported(f"{name}'s gradient has no gradient in turn; eager's has one")


def no_forward_derivative(name: str) -> Unsupported:
    """Return what says that a variant has no forward-mode derivative, and which has one."""
    return Unsupported(f"{name} has no forward-mode derivative; eager has one")


def first_order(attention: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a variant's attention, whose gradients refuse to be differentiated by its name.

    It takes q, k, v and slopes first. Asked for a gradient's gradient, it raises Unsupported and
    says which variant has one.
    """

    def attend(*arguments: Any) -> Any:
        if is_traced():
            return attention(*arguments)
        return attention(*(_mark(tensor, name) for tensor in arguments[:4]), *arguments[4:])

    return attend


def _mark(tensor: Tensor, name: str) -> Tensor:
    if not tensor.requires_grad:
        return tensor
    marking: Any = _FirstOrder
    same: Tensor = marking.apply(tensor, name)
    return same


class _Identity(Function):
    """The same tensor, from a function that knows a variant's name."""

    @staticmethod
    def forward(context: Any, tensor: Tensor, name: str) -> Tensor:
        context.name = name
        return tensor.view_as(tensor)


class _FirstOrder(_Identity):
    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        refusing: Any = _Refusal
        return refusing.apply(gradients[0], context.name), None


class _Refusal(_Identity):
    @staticmethod
    def backward(context: Any, *_: Tensor) -> tuple[Tensor, None]:
        raise no_second_gradient(context.name)
