"""Causal attention by halves: squares on the diagonal and rectangles below, merged by log-sum-exp.

The second half of a sequence sees itself and all of the first half. Each half is split the same
way, down to squares.
"""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from variants.sdpa.cpu_flash import attend, cut, gradients, hide_buried, merge


class Biases(NamedTuple):
    """The biases of squares, of rectangles at each level, and of the last queries, in no square.

    A rectangle has one row of biases for its keys, 0 at the last key, so that no digits are lost
    where weights are large. Each of its queries is further away: `shifts` is how much lower its
    true scores are.
    """

    square: Tensor  # [heads, size, size]
    rows: list[Tensor]  # [heads, 1, size]
    shifts: list[Tensor]  # [size, heads]
    last: Tensor  # [heads, rest, length + rest]


def biases_of(slopes: Tensor, sizes: list[int], rest: int, *, is_cut: bool) -> Biases:
    """Return the biases of squares of sizes[0] rows, and of rectangles of each size but the last.

    sizes[-1] is the length that squares cover; `rest` queries follow it. `slopes` is [heads].
    `is_cut` hides the keys whose bias is below -BURIED (variants.sdpa.cpu_flash).
    """
    length, slope = sizes[-1], slopes[:, None, None]
    position = torch.arange(length + rest, device=slopes.device)
    first = position[: sizes[0]]
    square = slope * (first - first[:, None])
    rows = [slope * (position[:size] - (size - 1)) for size in sizes[:-1]]
    distance = position - position[length:, None]
    last = (slope * distance).masked_fill(distance > 0, -torch.inf)
    if is_cut:
        square, last, *rows = map(hide_buried, (square, last, *rows))
    shifts = [(position[:size, None] + 1) * slopes for size in sizes[:-1]]
    return Biases(square, rows, shifts, last)


def halve(q: Tensor, k: Tensor, v: Tensor, biases: Biases, scale: float) -> Tensor:
    """Return one sequence's attention, [length, heads, head_dim].

    q is [heads, length, head_dim], k and v [kv_heads, length, head_dim], each contiguous in its
    last dimension.
    """
    return cast(Tensor, _Halving.apply(q, k, v, biases, scale))  # type: ignore[no-untyped-call]


class _Halving(torch.autograd.Function):
    """Squares first, then level by level the second halves' attention to the first halves."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, biases: Biases, scale: float) -> Tensor:
        parts, mask = _parts([q, k, v], biases.square, is_square=True)
        squares = attend(parts, mask, scale, is_causal=True)
        out, lse = (torch.flatten(rows, 0, 1) for rows in squares)
        for row, shift in zip(biases.rows, biases.shifts, strict=True):
            parts, mask = _parts([q, k, v], row, is_square=False)
            far, far_lse = attend(parts, mask, scale, is_causal=False)
            far_lse = far_lse - shift
            near, near_lse = (_second_halves(rows, len(shift)) for rows in (out, lse))
            merge(near, far, near_lse - far_lse, out=near)
            torch.logaddexp(near_lse, far_lse, out=near_lse)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.biases, ctx.scale = biases, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of q, k and v, summed over all parts in float32."""
        *tensors, out, lse = ctx.saved_tensors
        sums = [torch.zeros_like(tensor, dtype=torch.float32) for tensor in tensors]
        biases: Biases = ctx.biases
        size = biases.square.shape[2]
        rows = [torch.unflatten(part, 0, (-1, size)) for part in (grad_out, out, lse)]
        _add_gradients(sums, tensors, rows, biases.square, ctx.scale, is_square=True)
        for row, shift in zip(biases.rows, biases.shifts, strict=True):
            near_grad, near, near_lse = (
                _second_halves(part, len(shift)) for part in (grad_out, out, lse)
            )
            rows = [near_grad, near, near_lse + shift]
            _add_gradients(sums, tensors, rows, row, ctx.scale, is_square=False)
        return (*(total.to(grad_out.dtype) for total in sums), None, None)


def _add_gradients(
    sums: list[Tensor],
    tensors: list[Tensor],
    rows: list[Tensor],
    bias: Tensor,
    scale: float,
    *,
    is_square: bool,
) -> None:
    """Add the gradients of one level to `sums`, those of q, k and v.

    `rows` are the gradient, output and log-sum-exp of the level's queries, as
    variants.sdpa.cpu_flash.gradients takes them.
    """
    parts, mask = _parts(tensors, bias, is_square=is_square)
    grad_out, out, lse = rows
    level_gradients = gradients(grad_out, parts, out, lse, mask, scale, is_causal=is_square)
    sums_of_parts, _ = _parts(sums, bias, is_square=is_square)
    for sum_of_part, gradient in zip(sums_of_parts, level_gradients, strict=True):
        sum_of_part.add_(gradient)


def _parts(tensors: list[Tensor], bias: Tensor, *, is_square: bool) -> tuple[list[Tensor], Tensor]:
    """Return one level's views of q, k and v [parts, heads, size, head_dim], and their mask."""
    size = bias.shape[2]
    if is_square:
        parts = [cut(tensor, size) for tensor in tensors]
    else:
        q, k, v = (cut(tensor, 2 * size) for tensor in tensors)
        parts = [q[:, :, size:], k[:, :, :size], v[:, :, :size]]
    return parts, bias.expand(len(parts[0]), -1, size, -1)


def _second_halves(rows: Tensor, size: int) -> Tensor:
    """Return the second halves of [length, heads, ...] as [parts, size, heads, ...]."""
    return torch.unflatten(rows, 0, (-1, 2 * size))[:, size:]
