"""Cache what a variant builds from the slopes, until a call brings other slopes."""

import weakref
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from variants.tracing import is_traced

Value = TypeVar("Value")


class _CachedValue(NamedTuple, Generic[Value]):
    """The slopes and the result built from them; replaced whole, because threads may share it."""

    slopes: weakref.ref[Tensor]
    version: int
    contents: object
    result: Value


def cache_by_slopes(build: Callable[[Tensor], Value]) -> Callable[[Tensor], Value]:
    """Return `build` with a cache of one result: it runs again only for other slopes.

    Slopes are other slopes if they are another tensor, or the same tensor written to since. torch
    does not count writes through `.data` or numpy. On the CPU such a write is seen by comparing
    values; on other devices it is seen only if the tensor has moved to other memory.

    Nothing is cached for slopes that require a gradient, because the result belongs to one autograd
    graph; for slopes made in inference mode, because torch does not count writes to them; and
    while torch traces or transforms, because its tensors end with that.
    """
    entry: _CachedValue[Value] | None = None

    def build_or_reuse(slopes: Tensor) -> Value:
        nonlocal entry
        if slopes.requires_grad or slopes.is_inference() or is_traced():
            return build(slopes)
        last = entry  # read once, because another thread may replace the entry at any time
        if last is None or last.slopes() is not slopes or _has_changed(slopes, last):
            contents = _contents(slopes)
            with torch.inference_mode(mode=False):  # an inference tensor can't serve training
                result = build(slopes)
            last = entry = _CachedValue(weakref.ref(slopes), slopes._version, contents, result)
        return last.result

    return build_or_reuse


def _has_changed(slopes: Tensor, last: _CachedValue[Value]) -> bool:
    return last.version != slopes._version or last.contents != _contents(slopes)


def _contents(slopes: Tensor) -> object:
    """Return the values of slopes on the CPU, else their address: neither waits for a device.

    Returns None for a subclass such as torch's FakeTensor, which may have neither.
    """
    if type(slopes) not in {Tensor, torch.nn.Parameter}:
        return None
    return slopes.tolist() if slopes.device.type == "cpu" else slopes.data_ptr()
