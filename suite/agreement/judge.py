"""The judge: one call's answers beside the float64 oracle, in every row of every head.

Up to 512 queries all rows are compared in float64. Of longer cases all rows are first compared in
float32 (suite.agreement.survey); then those that look worst, and a random sample, in float64.
Baselines of over 16384 queries, which are never ranked, have the random sample alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from suite.agreement.budget import BudgetCheck, WorstErrors, compare_parts, merge
from suite.agreement.errors import ErrorMeasure, WorstError, least_size, worst_of
from suite.agreement.inputs import Inputs
from suite.agreement.oracle.evaluate import TRUTH, Formula, Precision, yardstick
from suite.agreement.oracle.portions import ALL_ROWS, Portion, portions
from suite.agreement.subproblems import EVERYWHERE, JudgedCall, Part
from suite.agreement.survey import Survey, survey, worst_rows
from variants.catalog import Answers
from variants.problem import Attention, Spec

SAMPLED_ROWS = 256
MOST_BASELINE_ROWS = 1 << 14
"""Without a bias no key is far away, so a survey's time grows with the square of the length."""

TILE = 64
ENOUGH_PAIRS, MOST_DRAWS = 1 << 22, 6
"""The yardstick's noise is drawn again until it has seen so many pairs, but not more often.

One row may decide the budget: two large scores that nearly tie. In a single draw their noise is
small by luck once in many runs, and then no right answer is within the budget.
"""


class Judgement(NamedTuple):
    """The worst errors of each part of a call, and the call's results: out, or out and gradients.

    `results` is empty where one of them was no tensor of the right shape and dtype.
    """

    errors: list[WorstErrors]
    results: dict[str, Tensor]


def check(
    attention: Attention, spec: Spec, inputs: Inputs, *, answers: Answers, seed: int
) -> BudgetCheck:
    """Compare one call of `attention` with the oracle, gradients too if `inputs` has a dout.

    `answers` is the catalog's, and names the oracle; `seed` draws the sampled rows.
    """
    call = JudgedCall(attention, inputs, [Part("", spec, EVERYWHERE, EVERYWHERE)])
    return compare_parts(judge(call, answers=answers, seed=seed).errors, spec.dtype)


def judge(call: JudgedCall, *, answers: Answers, seed: int) -> Judgement:
    """Call once and compare every row of every part; gradients of long parts take a second call.

    The second call's dout is zero but in the rows that are compared in float64, so that dk and dv
    can be too. An answer of a wrong type, shape or dtype has an infinite error.
    """
    inputs = call.inputs
    results = _answer(call.attention, inputs, inputs.dout)
    fault = _fault(results, inputs)
    if fault is not None:
        label, where = fault
        worst = [WorstError(math.inf, 0.0, call.parts[0].name + where)] * 2
        return Judgement([{label: worst}], {})
    with _exact_products():
        studies = [_study(part, inputs, results, answers, seed) for part in call.parts]
    sampled = results
    if inputs.dout is not None and any(study.is_sampled for study in studies):
        dout = torch.zeros_like(inputs.dout)
        for study in studies:
            place, rows = study.part.place, study.formula.rows
            dout[place][:, :, rows] = inputs.dout[place][:, :, rows]
        sampled = _answer(call.attention, inputs, dout)
    draws = _draws(studies)
    with _exact_products():
        return Judgement([study.errors(sampled, draws, seed) for study in studies], results)


def _draws(studies: Sequence["_Study"]) -> int:
    """Return how often the yardstick is drawn: the noise of one draw may be small by luck."""
    pairs = sum(
        study.part.spec.batch
        * study.part.spec.heads
        * len(study.formula.rows)
        * study.part.spec.kv_len
        for study in studies
    )
    return min(MOST_DRAWS, math.ceil(ENOUGH_PAIRS / pairs))


@dataclass(frozen=True)
class _Study:
    """A part, the formula on its rows for float64, and the survey of all rows of a long part."""

    part: Part
    formula: Formula
    survey: Survey | None

    @property
    def is_sampled(self) -> bool:
        """Whether only some rows are compared in float64."""
        return len(self.formula.rows) < self.part.spec.q_len

    def errors(self, results: Mapping[str, Tensor], draws: int, seed: int) -> WorstErrors:
        """Return the worst errors of the part's heads and rows in float64, and of the survey.

        The yardstick's noise is drawn so often, from `seed`.
        """
        spec, inputs = self.part.spec, self.formula.inputs
        least = {label: least_size(label, inputs, spec.scale) for label in results}
        at_place = {label: result[self.part.place] for label, result in results.items()}
        generator = torch.Generator(self.formula.rows.device).manual_seed(seed)
        yardsticks = [yardstick(spec.dtype, generator)] * draws
        by_portion = [
            _errors_in(at_place, self.formula, portion, yardsticks, least)
            for portion in portions(spec)
        ]
        errors = dict(merge(by_portion))
        for label, worst in self.survey.of_keys.items() if self.survey else ():
            errors[f"all {label}"] = [
                replace(error, formula_error=self._error_of_all_rows(sampled.formula_error))
                for error, sampled in zip(worst, errors[label], strict=True)
            ]
        name = self.part.name
        return {
            label: [replace(error, where=name + error.where) for error in worst]
            for label, worst in errors.items()
        }

    def _error_of_all_rows(self, formula_error: float) -> float:
        """Return the formula's error in sums over all queries, from that over the sampled rows.

        In float32 rounding adds up like a random walk; in half precision that of the sum prevails.
        """
        if self.part.spec.dtype != torch.float32:
            return formula_error
        return formula_error * math.sqrt(self.part.spec.q_len / len(self.formula.rows))


def _study(
    part: Part, whole: Inputs, results: Mapping[str, Tensor], answers: Answers, seed: int
) -> _Study:
    """Survey a long part, and choose the rows to compare in float64."""
    spec, inputs = part.spec, part.inputs(whole)
    rows = rows_to_check(spec.q_len, seed, whole.q.device)
    if len(rows) == spec.q_len or (answers != "alibi" and spec.q_len > MOST_BASELINE_ROWS):
        return _Study(part, Formula(spec, inputs, answers, rows), None)
    every_row = torch.arange(spec.q_len, device=rows.device)
    least = {label: least_size(label, inputs, spec.scale) for label in results}
    at_place = {label: result[part.place] for label, result in results.items()}
    seen = survey(Formula(spec, inputs, answers, every_row), at_place, least)
    rows = worst_rows(seen.row_errors, rows)
    return _Study(part, Formula(spec, inputs, answers, rows), seen)


def rows_to_check(q_len: int, seed: int, device: torch.device) -> Tensor:
    """Return the query rows to compare in float64, sorted: all up to 512, otherwise 256 of them.

    They are both ends, tile edges, and a random rest.
    """
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


@contextmanager
def _exact_products() -> Iterator[None]:
    """Compute float32 products in float32, whatever a variant's module has set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _answer(attention: Attention, inputs: Inputs, dout: Tensor | None) -> dict[str, Tensor]:
    """Return out of one call, and with `dout` its gradients dq, dk and dv."""
    q, k, v = inputs.q, inputs.k, inputs.v
    if dout is None:
        with torch.no_grad():
            return {"out": attention(*inputs.arguments)}
    with torch.enable_grad():
        out = attention(*inputs.arguments)
        if type(out) is not Tensor or out.shape != q.shape:
            return {"out": out}
        dq, dk, dv = torch.autograd.grad(out, (q, k, v), dout)
    return {"out": out.detach(), "dq": dq, "dk": dk, "dv": dv}


def _fault(results: Mapping[str, Tensor], inputs: Inputs) -> tuple[str, str] | None:
    """Return the first answer that is no tensor of the right shape and dtype, and what it is."""
    for label, result in results.items():
        like = {"out": inputs.q, "dq": inputs.q, "dk": inputs.k, "dv": inputs.v}[label]
        if type(result) is not Tensor:
            return label, f"{label} is a {type(result).__name__} and not a tensor"
        if result.shape != like.shape or result.dtype != like.dtype:
            shape, right_shape = list(result.shape), list(like.shape)
            what = f"{label} is {result.dtype} {shape} and not {like.dtype} {right_shape}"
            return label, what
    return None


def _errors_in(
    answer_of: Mapping[str, Tensor],
    formula: Formula,
    portion: Portion,
    yardsticks: Sequence[Precision],
    least: Mapping[str, float],
) -> dict[str, list[WorstError]]:
    """Return the worst errors of one portion: for each answer by heads, then by rows."""
    rows = formula.rows
    truths = formula.evaluate(portion, TRUTH)
    keys = torch.arange(formula.spec.kv_len, device=rows.device)
    errors: dict[str, list[list[WorstError]]] = {label: [] for label in answer_of}
    for precision in yardsticks:
        like = formula.evaluate(portion, precision)
        for label, answer in answer_of.items():
            if label in {"out", "dq"}:
                part, places = portion.of_queries(answer)[:, :, rows], rows
                first = portion.batch.start, portion.heads.start
            else:
                part, places = portion.of_keys(answer), keys
                first = portion.batch.start, portion.kv_heads.start
            measure = ErrorMeasure(label, truths[label], like[label], first, places, least[label])
            errors[label].append(list(measure.worst(part)))
    return {
        label: [worst_of(errors) for errors in zip(*by_draw, strict=True)]
        for label, by_draw in errors.items()
    }
