"""Judging: how far a portion's answer is from the truth, and how far the formula itself is.

Per head and per row, never over a whole tensor: a window cut to half of the keys passes that in
bfloat16.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import max_pool1d

from suite.agreement.inputs import Inputs
from suite.agreement.oracle import BLOCK_BYTES

NEIGHBOURS = 8
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class WorstError:
    """The worst of a portion's heads, or of its rows: relative L2 errors, and where.

    `error` is the answer's, at `where`; `own` is the worst of the formula's, anywhere.
    """

    error: float
    own: float
    where: str


def worst_of(findings: Sequence[WorstError]) -> WorstError:
    """Return what one portion of everything would have found; no number is worse than any."""
    worst = max(findings, key=lambda one: (math.isnan(one.error), one.error))
    owns = torch.tensor([one.own for one in findings], dtype=torch.float64)
    return WorstError(worst.error, owns.max().item(), worst.where)


@dataclass(frozen=True)
class ErrorMeasure:
    """What a portion of the answer `name` is held against, all [batch, heads, rows, head_dim].

    `first` is the batch entry and the head that the portion begins with, `places` [rows] where its
    rows stand, `least_size` the norm below which a row counts as zero.
    """

    name: str
    truth: Tensor
    yardstick: Tensor
    first: tuple[int, int]
    places: Tensor
    least_size: float

    def worst(self, answer: Tensor) -> Iterator[WorstError]:
        """Yield the finding by heads and the one by rows."""
        missed = answer.double() - self.truth
        missed_by_formula = self.yardstick.double() - self.truth
        for sizes, dims in ((self._head_sizes(), (2, 3)), (self._row_sizes(), (3,))):
            error = vector_norm(missed, dim=dims) / sizes
            own = vector_norm(missed_by_formula, dim=dims) / sizes
            worst = int(error.nan_to_num(nan=math.inf).argmax())
            place = torch.unravel_index(torch.tensor(worst), error.shape)
            entry, head, *row = (int(index) for index in place)
            where = f"{self.name}, batch {self.first[0] + entry} head {self.first[1] + head}"
            yield WorstError(
                error=error.flatten()[worst].item(),
                own=own.max().item(),
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
        # A gradient row can cancel to nothing (the first query has one key and so no choice) while
        # its rounding does not: a row counts as no smaller than the largest near it.
        return max_pool1d(sizes, 2 * NEIGHBOURS + 1, stride=1, padding=NEIGHBOURS)


def least_size(name: str, inputs: Inputs, scale: float) -> float:
    """Return the norm below which a row counts as zero: a thousandth of dq's or dk's terms.

    With a single key dq and dk are zero throughout, so that all there is of them is rounding: it
    is held against four times those terms.
    """
    if name in {"out", "dv"} or inputs.dout is None:
        return _TINY
    q, k, v, dout = map(_usual_row, (inputs.q, inputs.k, inputs.v, inputs.dout))
    dweight = dout * v / math.sqrt(inputs.v.shape[3])
    share = 4.0 if inputs.k.shape[2] == 1 else 1e-3
    return max(_TINY, share * scale * dweight * (k if name == "dq" else q))


def _usual_row(tensor: Tensor) -> float:
    """Return the root mean square of the rows' norms, a few heads at a time."""
    heads = max(1, BLOCK_BYTES // (8 * tensor[0, 0].numel()))
    squares = [
        float(vector_norm(some.double(), dim=2).square().sum())
        for entry in tensor.detach()
        for some in entry.split(heads)
    ]
    return math.sqrt(sum(squares) / tensor[..., 0].numel())
