"""Errors: how far an answer is from the truth, and how far the formula in the same dtype is.

Errors are relative L2 norms of each head and of each row, never of a whole tensor: in bfloat16 a
window cut to half of the keys passes a whole-tensor comparison.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import max_pool1d

from suite.agreement.inputs import Inputs
from suite.agreement.oracle.portions import BLOCK_BYTES

NEIGHBOURS = 8
LEAST_ROW = 1 / 2
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class WorstError:
    """The largest relative L2 error of a portion's heads, or of its rows.

    `error` is the answer's, at the head or row that `where` names. `formula_error` is the largest
    that the formula has in any head or row.
    """

    error: float
    formula_error: float
    where: str


def worst_of(findings: Sequence[WorstError]) -> WorstError:
    """Merge the worst errors of several portions into one; NaN is worse than any number."""
    worst = max(findings, key=lambda finding: (math.isnan(finding.error), finding.error))
    formula = torch.tensor([finding.formula_error for finding in findings], dtype=torch.float64)
    return WorstError(worst.error, formula.max().item(), worst.where)


@dataclass(frozen=True)
class ErrorMeasure:
    """The truth and the yardstick of a portion of an answer, both [batch, heads, rows, head_dim].

    The answer is `name`: out, dq, dk or dv. The yardstick is the formula in the answer's dtype.
    `first` is the portion's first batch entry and head, `places` [rows] the positions of its rows,
    and `least_size` the norm below which a row counts as zero.
    """

    name: str
    truth: Tensor
    yardstick: Tensor
    first: tuple[int, int]
    places: Tensor
    least_size: float

    def worst(self, answer: Tensor) -> Iterator[WorstError]:
        """Yield the worst error of the answer's heads, then that of its rows."""
        difference = answer.double() - self.truth
        formula_difference = self.yardstick.double() - self.truth
        for sizes, dims in ((self._head_sizes(), (2, 3)), (self._row_sizes(), (3,))):
            error = vector_norm(difference, dim=dims) / sizes
            formula_error = vector_norm(formula_difference, dim=dims) / sizes
            worst = int(error.nan_to_num(nan=math.inf).argmax())
            entry, head, *row = _place(worst, error.shape)
            where = f"{self.name}, batch {self.first[0] + entry} head {self.first[1] + head}"
            yield WorstError(
                error=error.flatten()[worst].item(),
                formula_error=formula_error.max().item(),
                where=f"{where} row {int(self.places[row[0]])}" if row else where,
            )

    def _head_sizes(self) -> Tensor:
        least = self.least_size * math.sqrt(self.truth.shape[2])
        sizes: Tensor = vector_norm(self.truth, dim=(2, 3)).clamp(min=least)  # [batch, heads]
        return sizes

    def _row_sizes(self) -> Tensor:
        sizes: Tensor = vector_norm(self.truth, dim=3).clamp(min=self.least_size)
        if self.name == "out":
            return sizes  # [batch, heads, rows]
        # A gradient row can be exactly zero while its rounding is not: the first query's dq is,
        # as it has one key. So a row counts as large as the largest of its neighbours, and as
        # half of the head's usual row: its relative error would be the budget of all others.
        sizes = max_pool1d(sizes, 2 * NEIGHBOURS + 1, stride=1, padding=NEIGHBOURS)
        return sizes.maximum(least_row(self.truth))


def _place(index: int, shape: Sequence[int]) -> list[int]:
    """Return the indices of a flat index; torch's own function imports sympy, for seconds."""
    place = []
    for size in reversed(shape):
        index, within = divmod(index, size)
        place.append(within)
    return place[::-1]


def least_row(gradient: Tensor) -> Tensor:
    """Return the norm that a gradient row counts as at least: [batch, heads, 1], in its dtype.

    It is half of the root mean square of the head's row norms.
    """
    usual: Tensor = vector_norm(gradient, dim=(2, 3)) / math.sqrt(gradient.shape[2])
    return LEAST_ROW * usual[..., None]


def least_size(name: str, inputs: Inputs, scale: float) -> float:
    """Return the norm below which a row of an answer counts as zero.

    For dq and dk it is a thousandth of the usual size of the terms that are summed. With a single
    key all of dq and dk is zero and only rounding remains: then it is four times that size. For out
    and dv it is the smallest normal float64.
    """
    if name in {"out", "dv"} or inputs.dout is None:
        return _TINY
    q, k, v, dout = map(_typical_row_norm, (inputs.q, inputs.k, inputs.v, inputs.dout))
    dweight = dout * v / math.sqrt(inputs.v.shape[3])
    share = 4.0 if inputs.k.shape[2] == 1 else 1e-3
    return max(_TINY, share * scale * dweight * (k if name == "dq" else q))


def _typical_row_norm(tensor: Tensor) -> float:
    """Return the root mean square of the rows' norms; computed a few heads at a time."""
    heads = max(1, BLOCK_BYTES // (8 * tensor[0, 0].numel()))
    squares = [
        float(vector_norm(few_heads.double(), dim=2).square().sum())
        for entry in tensor.detach()
        for few_heads in entry.split(heads)
    ]
    return math.sqrt(sum(squares) / tensor[..., 0].numel())
