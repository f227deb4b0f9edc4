"""Causal attention as squares on the diagonal and rectangles below, merged by their log-sum-exp.

The second half of a sequence looks at itself and at all of the first; each half is halves again,
down to squares.
"""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from variants.sdpa.cpu_flash import attend, cut, gradients, merge, without_buried


class Biases(NamedTuple):
    """The bias of squares, that of rectangles by level, and what moves a rectangle's rows.

    A rectangle has a row of keys that is 0 at the last, so no digits are lost where weight is.
    `last` is that of queries at the end, which are in no square.
    """

    square: Tensor  # [heads, size, size]
    rows: list[Tensor]  # [heads, 1, size]
    shifts: list[Tensor]  # [size, heads]
    last: Tensor  # [heads, rest, length + rest]


def biases_of(slopes: Tensor, sizes: list[int], rest: int, *, is_cut: bool) -> Biases:
    """Return the biases of squares of sizes[0] and of rectangles of all sizes but the last.

    `rest` queries come after those of the last size.
    """
    length, slope = sizes[-1], slopes[:, None, None]
    position = torch.arange(length + rest, device=slopes.device)
    first = position[: sizes[0]]
    square = slope * (first - first[:, None])
    rows = [slope * (position[:size] - (size - 1)) for size in sizes[:-1]]
    distance = position - position[length:, None]
    last = (slope * distance).masked_fill(distance > 0, -torch.inf)
    if is_cut:
        square, last, *rows = map(without_buried, (square, last, *rows))
    shifts = [(position[:size, None] + 1) * slopes for size in sizes[:-1]]
    return Biases(square, rows, shifts, last)


def halve(q: Tensor, k: Tensor, v: Tensor, biases: Biases, scale: float) -> Tensor:
    """Return one sequence's attention, [length, heads, head_dim].

    q is [heads, length, head_dim], k and v [kv_heads, length, head_dim], each contiguous in its
    last dimension.
    """
    return cast(Tensor, _Halved.apply(q, k, v, biases, scale))  # type: ignore[no-untyped-call]


class _Halved(torch.autograd.Function):
    """Squares, then level by level what second halves see of the first."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, biases: Biases, scale: float) -> Tensor:
        parts, mask = _parts([q, k, v], biases.square, is_square=True)
        squares = attend(parts, mask, scale, is_causal=True)
        out, lse = (torch.flatten(one, 0, 1) for one in squares)
        for row, shift in zip(biases.rows, biases.shifts, strict=True):
            parts, mask = _parts([q, k, v], row, is_square=False)
            far, far_lse = attend(parts, mask, scale, is_causal=False)
            far_lse = far_lse - shift
            own, own_lse = (_seconds(one, len(shift)) for one in (out, lse))
            merge(own, far, own_lse - far_lse, out=own)
            torch.logaddexp(own_lse, far_lse, out=own_lse)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.biases, ctx.scale = biases, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """Return the sums of all parts' gradients, taken in float32."""
        *tensors, out, lse = ctx.saved_tensors
        sums = [torch.zeros_like(one, dtype=torch.float32) for one in tensors]
        biases: Biases = ctx.biases
        size = biases.square.shape[2]
        rows = [torch.unflatten(one, 0, (-1, size)) for one in (grad_out, out, lse)]
        _add_gradients(sums, tensors, rows, biases.square, ctx.scale, is_square=True)
        for row, shift in zip(biases.rows, biases.shifts, strict=True):
            own_grad, own, own_lse = (_seconds(one, len(shift)) for one in (grad_out, out, lse))
            rows = [own_grad, own, own_lse + shift]
            _add_gradients(sums, tensors, rows, row, ctx.scale, is_square=False)
        return (*(one.to(grad_out.dtype) for one in sums), None, None)


def _add_gradients(
    sums: list[Tensor],
    tensors: list[Tensor],
    rows: list[Tensor],
    bias: Tensor,
    scale: float,
    *,
    is_square: bool,
) -> None:
    """Add the gradients of a level to those of q, k and v.

    `rows` are the gradient, output and log-sum-exp of its queries, as flash.gradients takes them.
    """
    parts, mask = _parts(tensors, bias, is_square=is_square)
    grad_out, out, lse = rows
    found = gradients(grad_out, parts, out, lse, mask, scale, is_causal=is_square)
    for sum_of_part, one in zip(_parts(sums, bias, is_square=is_square)[0], found, strict=True):
        sum_of_part.add_(one)


def _parts(tensors: list[Tensor], bias: Tensor, *, is_square: bool) -> tuple[list[Tensor], Tensor]:
    """Return a level's views of q, k and v [parts, heads, size, head_dim], and their mask."""
    size = bias.shape[2]
    if is_square:
        parts = [cut(one, size) for one in tensors]
    else:
        q, k, v = (cut(one, 2 * size) for one in tensors)
        parts = [q[:, :, size:], k[:, :, :size], v[:, :, :size]]
    return parts, bias.expand(len(parts[0]), -1, size, -1)


def _seconds(one: Tensor, size: int) -> Tensor:
    """Return the second halves of [length, heads, ...] as [parts, size, heads, ...]."""
    return torch.unflatten(one, 0, (-1, 2 * size))[:, size:]
