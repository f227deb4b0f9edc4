"""The budget of an answer: how far it may be from the float64 oracle, in a head and in a row.

The yardstick is the formula with its steps rounded to the answer's dtype, with scores, bias and
softmax in float32, and with the noise of sums in any order (suite.agreement.oracle.formula). An
output agrees if its worst head's error is at most twice the yardstick's worst, or twice eps if that
is more, and likewise its worst row. Gradients may have twice that. A figure over the whole tensor
would hide faults: in bfloat16 a window cut to half of the keys passes it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.agreement.errors import ErrorMeasure, WorstError, worst_of

ALLOWANCE = {"out": 2.0, "dq": 4.0, "dk": 4.0, "dv": 4.0, "all dk": 8.0, "all dv": 8.0}
"""The budget of each answer, as a multiple of the yardstick's error.

"all dk" and "all dv" are gradients of all rows' outputs, which are compared in float32; "dk" and
"dv" those of the rows that are compared in float64.
"""


@dataclass(frozen=True)
class BudgetCheck:
    """The error closest to its budget, or furthest over it, the budget, and the head or row."""

    error: float
    budget: float
    where: str

    @property
    def agrees(self) -> bool:
        """Whether the error is a number within its budget."""
        return self.error <= self.budget

    @property
    def excess(self) -> float:
        """The error as a multiple of its budget; infinite when it is no number."""
        if math.isnan(self.error) or self.budget == 0:
            return math.inf
        return self.error / self.budget


WorstErrors = Mapping[str, Sequence[WorstError]]
"""For each answer (out, dq, dk, dv): the worst error of its heads, and that of its rows."""


def compare_parts(parts: Sequence[WorstErrors], dtype: torch.dtype) -> BudgetCheck:
    """Compare the worst error of all parts of a case with the formula's worst error in any part.

    Parts share one budget because a part of a single query has one row a head, whose rounding is
    a matter of luck.
    """
    checks = [
        _check_budget(label, error, dtype)
        for label, errors in merge(parts).items()
        for error in errors
    ]
    return max(checks, key=lambda check: check.excess)


def merge(parts: Sequence[WorstErrors]) -> WorstErrors:
    """Return the worst errors of all parts together."""
    labels = dict.fromkeys(label for part in parts for label in part)
    return {
        label: [
            worst_of(errors)
            for errors in zip(*(part[label] for part in parts if label in part), strict=True)
        ]
        for label in labels
    }


def compare(answer: Tensor, truth: Tensor, like: Tensor) -> BudgetCheck:
    """Compare an output with the caller's truth, by a budget from the error of `like`.

    All are [batch, heads, rows, head_dim], and truth is float64. Every row is checked.
    """
    rows = torch.arange(truth.shape[2], device=truth.device)
    measure = ErrorMeasure("out", truth, like, (0, 0), rows, torch.finfo(torch.float64).tiny)
    checks = [_check_budget("out", error, answer.dtype) for error in measure.worst(answer)]
    return max(checks, key=lambda check: check.excess)


def _check_budget(label: str, worst: WorstError, dtype: torch.dtype) -> BudgetCheck:
    return BudgetCheck(worst.error, budget_of(label, worst, dtype), worst.where)


def budget_of(label: str, worst: WorstError, dtype: torch.dtype) -> float:
    """Return the budget of an answer: a multiple of the formula's error, or of eps."""
    return ALLOWANCE[label] * max(torch.finfo(dtype).eps, worst.formula_error)
