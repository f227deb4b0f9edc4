"""Agreement: whether an answer matches the float64 oracle, in each head and in each row.

The yardstick is the reference formula in the answer's dtype, with bias and softmax in float32. An
output agrees if its worst head's error is at most twice the yardstick's worst, or twice eps if that
is more, and likewise its worst row. Gradients may have twice that. A figure over the whole tensor
would hide faults: in bfloat16 a window cut to half of the keys passes it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from suite.agreement.errors import ErrorMeasure, WorstError, least_size, worst_of
from suite.agreement.inputs import Inputs
from suite.agreement.oracle import ALL_ROWS, Formula, Portion, portions
from variants.catalog import Answers
from variants.problem import Attention, Spec

ALLOWANCE = {"out": 2.0, "dq": 4.0, "dk": 4.0, "dv": 4.0}
SAMPLED_ROWS = 256
TILE = 64


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


def check(
    attention: Attention, spec: Spec, inputs: Inputs, *, answers: Answers, seed: int
) -> BudgetCheck:
    """Compare one call of `attention` with the oracle, gradients too if `inputs` has a dout.

    `answers` (alibi, no_bias or rope) names the oracle. Up to 512 queries all rows are checked,
    otherwise 256: both ends, tile edges, and a random rest.
    """
    errors = worst_errors(attention, spec, inputs, answers=answers, seed=seed)
    return compare_parts([errors], spec.dtype)


def worst_errors(
    attention: Attention, spec: Spec, inputs: Inputs, *, answers: Answers, seed: int, name: str = ""
) -> WorstErrors:
    """Return the worst errors of one call; `name` is the case's part and goes before each `where`.

    An answer of a wrong shape or dtype has an infinite error.
    """
    rows = rows_to_check(spec.q_len, seed, inputs.q.device)
    answer_of = _answers(attention, inputs, rows)
    for label, answer in answer_of.items():
        like = {"out": inputs.q, "dq": inputs.q, "dk": inputs.k, "dv": inputs.v}[label]
        if answer.shape != like.shape or answer.dtype != like.dtype:
            shape, right_shape = list(answer.shape), list(like.shape)
            where = f"{name}{label} is {answer.dtype} {shape} and not {like.dtype} {right_shape}"
            return {label: [WorstError(math.inf, 0.0, where)] * 2}
    formula = Formula(spec, inputs, answers, rows)
    least = {label: least_size(label, inputs, spec.scale) for label in answer_of}
    by_portion = [_errors_in(answer_of, formula, portion, least) for portion in portions(spec)]
    return {
        label: [replace(error, where=name + error.where) for error in errors]
        for label, errors in _merge(by_portion).items()
    }


def compare_parts(parts: Sequence[WorstErrors], dtype: torch.dtype) -> BudgetCheck:
    """Compare the worst error of all parts of a case with the formula's worst error in any part.

    Parts share one budget because a part of a single query has one row a head, whose rounding is
    a matter of luck.
    """
    checks = [
        _check_budget(label, error, dtype)
        for label, errors in _merge(parts).items()
        for error in errors
    ]
    return max(checks, key=lambda check: check.excess)


def _merge(parts: Sequence[WorstErrors]) -> WorstErrors:
    labels = dict.fromkeys(label for part in parts for label in part)
    return {
        label: [
            worst_of(errors)
            for errors in zip(*(part[label] for part in parts if label in part), strict=True)
        ]
        for label in labels
    }


def compare(answer: Tensor, truth: Tensor, yardstick: Tensor) -> BudgetCheck:
    """Compare an output with the caller's truth, by a budget from the error of `yardstick`.

    All are [batch, heads, rows, head_dim], and truth is float64. Every row is checked.
    """
    rows = torch.arange(truth.shape[2], device=truth.device)
    measure = ErrorMeasure("out", truth, yardstick, (0, 0), rows, torch.finfo(torch.float64).tiny)
    checks = [_check_budget("out", error, answer.dtype) for error in measure.worst(answer)]
    return max(checks, key=lambda check: check.excess)


def rows_to_check(q_len: int, seed: int, device: torch.device) -> Tensor:
    """Return the query rows to check, sorted: all rows up to 512, otherwise 256 of them."""
    if q_len <= ALL_ROWS:
        return torch.arange(q_len, device=device)
    generator = torch.Generator().manual_seed(seed)
    edges = torch.arange(TILE, q_len, TILE)
    edges = edges[torch.randperm(len(edges), generator=generator)[: SAMPLED_ROWS // 4]]
    ends = torch.tensor([0, 1, q_len - 2, q_len - 1])
    fixed = torch.unique(torch.cat([ends, edges - 1, edges]))
    shuffled = torch.randperm(q_len, generator=generator)
    rest = shuffled[~torch.isin(shuffled, fixed)]
    return torch.cat([fixed, rest[: SAMPLED_ROWS - len(fixed)]]).sort().values.to(device)


def _answers(attention: Attention, inputs: Inputs, rows: Tensor) -> dict[str, Tensor]:
    """Call once; gradients are of a dout that is zero in all rows that are not checked."""
    q, k, v = inputs.q, inputs.k, inputs.v
    if inputs.dout is None:
        with torch.no_grad():
            return {"out": attention(q, k, v, inputs.slopes)}
    out = attention(q, k, v, inputs.slopes)
    if out.shape != q.shape:
        return {"out": out.detach()}
    dout = inputs.dout
    if len(rows) < dout.shape[2]:
        dout = torch.zeros_like(dout)
        dout[:, :, rows] = inputs.dout[:, :, rows]
    dq, dk, dv = torch.autograd.grad(out, (q, k, v), dout)
    return {"out": out.detach(), "dq": dq, "dk": dk, "dv": dv}


def _errors_in(
    answer_of: Mapping[str, Tensor], formula: Formula, portion: Portion, least: Mapping[str, float]
) -> dict[str, list[WorstError]]:
    """Return the worst errors of one portion: for each answer by heads, then by rows."""
    spec, rows = formula.spec, formula.rows
    truths = formula.evaluate(portion, torch.float64)
    yardsticks = formula.evaluate(portion, spec.dtype)
    keys = torch.arange(spec.kv_len, device=rows.device)
    errors: dict[str, list[WorstError]] = {}
    for label, answer in answer_of.items():
        if label in {"out", "dq"}:
            part, places = portion.of_queries(answer)[:, :, rows], rows
            first = portion.batch.start, portion.heads.start
        else:
            part, places = portion.of_keys(answer), keys
            first = portion.batch.start, portion.kv_heads.start
        measure = ErrorMeasure(label, truths[label], yardsticks[label], first, places, least[label])
        errors[label] = list(measure.worst(part))
    return errors


def _check_budget(label: str, worst: WorstError, dtype: torch.dtype) -> BudgetCheck:
    """Compare the answer's error with the budget: a multiple of the formula's, or of eps."""
    yardstick = max(torch.finfo(dtype).eps, worst.formula_error)
    return BudgetCheck(worst.error, ALLOWANCE[label] * yardstick, worst.where)
