"""Agreement: does an answer match the float64 oracle, head by head and row by row?

The budget is what the reference formula, in the same dtype with float32 bias and softmax, gets
wrong itself: a variant's output may err twice as much in its worst head and in its worst row, its
gradients four times. Whole-tensor figures are blind; a window cut to half of the keys passes one
in bfloat16.
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
    """The figures nearest to their budget, or furthest over it, and where they were found."""

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
"""Of each answer (out, dq, dk, dv): the worst of its heads, and the worst of its rows."""


def check(
    attention: Attention, spec: Spec, inputs: Inputs, *, answers: Answers, seed: int
) -> BudgetCheck:
    """Compare one call of `attention` with the oracle; with gradients where the spec wants them.

    `answers` says which oracle it is held to. Rows are all checked up to 512 queries, else 256 of
    them: the ends, tile edges and a random rest.
    """
    found = worst_errors(attention, spec, inputs, answers=answers, seed=seed)
    return comparison([found], spec.dtype)


def worst_errors(
    attention: Attention, spec: Spec, inputs: Inputs, *, answers: Answers, seed: int, name: str = ""
) -> WorstErrors:
    """Return how far one call is from the oracle, where in the part of a case called `name`."""
    rows = rows_to_check(spec.q_len, seed, inputs.q.device)
    given = _answers(attention, inputs, rows)
    for of, answer in given.items():
        asked = {"out": inputs.q, "dq": inputs.q, "dk": inputs.k, "dv": inputs.v}[of]
        if answer.shape != asked.shape or answer.dtype != asked.dtype:
            found, wanted = list(answer.shape), list(asked.shape)
            where = f"{name}{of} is {answer.dtype} {found} and not {asked.dtype} {wanted}"
            return {of: [WorstError(math.inf, 0.0, where)] * 2}
    formula = Formula(spec, inputs, answers, rows)
    least = {of: least_size(of, inputs, spec.scale) for of in given}
    by_portion = [_errors_in(given, formula, portion, least) for portion in portions(spec)]
    return {
        of: [replace(each, where=name + each.where) for each in merged]
        for of, merged in _merge(by_portion).items()
    }


def comparison(parts: Sequence[WorstErrors], dtype: torch.dtype) -> BudgetCheck:
    """Hold the worst of all parts of a case against one budget: the formula's worst in any.

    A single query has one row a head, whose budget alone would be a matter of luck.
    """
    compared = [
        _check_budget(of, found, dtype) for of, worst in _merge(parts).items() for found in worst
    ]
    return max(compared, key=lambda one: one.excess)


def _merge(parts: Sequence[WorstErrors]) -> WorstErrors:
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: [
            worst_of(found)
            for found in zip(*(part[name] for part in parts if name in part), strict=True)
        ]
        for name in names
    }


def compare(answer: Tensor, truth: Tensor, yardstick: Tensor) -> BudgetCheck:
    """Compare an output with a truth from elsewhere, on the budget of what `yardstick` gets wrong.

    All [batch, heads, rows, head_dim], truth in float64; every row is checked.
    """
    rows = torch.arange(truth.shape[2], device=truth.device)
    measure = ErrorMeasure("out", truth, yardstick, (0, 0), rows, torch.finfo(torch.float64).tiny)
    comparisons = [_check_budget("out", finding, answer.dtype) for finding in measure.worst(answer)]
    return max(comparisons, key=lambda comparison: comparison.excess)


def rows_to_check(q_len: int, seed: int, device: torch.device) -> Tensor:
    """Return the query rows to check, sorted: all of a short case, 256 of a long one."""
    if q_len <= ALL_ROWS:
        return torch.arange(q_len, device=device)
    generator = torch.Generator().manual_seed(seed)
    edges = torch.arange(TILE, q_len, TILE)
    edges = edges[torch.randperm(len(edges), generator=generator)[: SAMPLED_ROWS // 4]]
    chosen = torch.cat([torch.tensor([0, 1, q_len - 2, q_len - 1]), edges - 1, edges])
    chosen = torch.unique(chosen)
    order = torch.randperm(q_len, generator=generator)
    others = order[~torch.isin(order, chosen)]
    return torch.cat([chosen, others[: SAMPLED_ROWS - len(chosen)]]).sort().values.to(device)


def _answers(attention: Attention, inputs: Inputs, rows: Tensor) -> dict[str, Tensor]:
    """Call once; gradients are those of a dout that is zero but for the checked rows."""
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
    given: Mapping[str, Tensor], formula: Formula, portion: Portion, least: Mapping[str, float]
) -> dict[str, list[WorstError]]:
    """Return for every answer the finding by heads and the one by rows of one portion."""
    spec, rows = formula.spec, formula.rows
    truths, yardsticks = (
        formula.evaluate(portion, torch.float64),
        formula.evaluate(portion, spec.dtype),
    )
    keys = torch.arange(spec.kv_len, device=rows.device)
    findings: dict[str, list[WorstError]] = {}
    for name, answer in given.items():
        if name in {"out", "dq"}:
            part, places = portion.of_queries(answer)[:, :, rows], rows
            first = portion.batch.start, portion.heads.start
        else:
            part, places = portion.of_keys(answer), keys
            first = portion.batch.start, portion.kv_heads.start
        measure = ErrorMeasure(name, truths[name], yardsticks[name], first, places, least[name])
        findings[name] = list(measure.worst(part))
    return findings


def _check_budget(name: str, found: WorstError, dtype: torch.dtype) -> BudgetCheck:
    """Hold the answer's worst against the formula's worst, and never against less than eps."""
    floor = ALLOWANCE[name] * torch.finfo(dtype).eps
    return BudgetCheck(found.error, max(floor, ALLOWANCE[name] * found.own), found.where)
