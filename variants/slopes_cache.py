"""Keep what is built from the slopes for as long as the same slopes are handed in."""

import weakref
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

Built = TypeVar("Built")


class _Entry(NamedTuple, Generic[Built]):
    """What was built, and of which slopes; replaced as a whole, for threads may share it."""

    slopes: weakref.ref[Tensor]
    version: int
    contents: object
    built: Built


def built_once(build: Callable[[Tensor], Built]) -> Callable[[Tensor], Built]:
    """Return `build` that runs again only for other slopes.

    Other means another tensor, or the same one written to since. torch doesn't count what is
    written through `.data` or numpy: on the CPU that is seen all the same, by the values, and
    elsewhere only where the tensor has got other memory.

    Nothing is kept from slopes that want a gradient, because it belongs to one graph, nor from
    slopes made in inference mode, which don't tell when they are written to, nor inside
    torch.func's transforms, whose tensors end with them.
    """
    kept: _Entry[Built] | None = None

    def built(slopes: Tensor) -> Built:
        nonlocal kept
        if slopes.requires_grad or slopes.is_inference() or _is_transformed():
            return build(slopes)
        last = kept  # once, because another thread may put its own there at any time
        if last is None or last.slopes() is not slopes or _has_changed(slopes, last):
            contents = _contents(slopes)
            with torch.inference_mode(mode=False):  # what is made inside of it can't serve training
                made = build(slopes)
            last = kept = _Entry(weakref.ref(slopes), slopes._version, contents, made)
        return last.built

    return built


def _is_transformed() -> bool:
    return torch._C._functorch.peek_interpreter_stack() is not None


def _has_changed(slopes: Tensor, last: _Entry[Built]) -> bool:
    return last.version != slopes._version or last.contents != _contents(slopes)


def _contents(slopes: Tensor) -> object:
    """Return the values where that waits for nothing, else the address; nothing of a subclass.

    A subclass such as torch's FakeTensor may have neither.
    """
    if type(slopes) not in {Tensor, torch.nn.Parameter}:
        return None
    return slopes.tolist() if slopes.device.type == "cpu" else slopes.data_ptr()
