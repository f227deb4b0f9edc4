"""Other people's code in one floating dtype, whatever dtypes its source names."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NAMED = {torch.float32, torch.bfloat16}


class OneDtype(TorchFunctionMode):
    """While it is entered, a call that asks for float32 or bfloat16 gets `dtype` instead.

    In float64 this makes a model's own source an oracle: slopes, bias and softmax, for which the
    models name narrower types, are then as exact as its products.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Answer a call of torch, in the one dtype where it names another."""
        if function in {Tensor.float, Tensor.bfloat16}:
            return args[0].to(self.dtype)
        named = dict(kwargs or {})
        if named.get("dtype") in NAMED:
            named["dtype"] = self.dtype
        return function(*args, **named)
