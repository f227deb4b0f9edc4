"""The check of a prepared case: on all inputs that are timed, and on new ones after timing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from suite.agreement.budget import BudgetCheck, WorstErrors, budget_of, compare_parts, merge
from suite.agreement.errors import least_size
from suite.agreement.inputs import Inputs, PrepareFunction
from suite.agreement.judge import judge
from suite.agreement.rotation import BrokenRule, JudgedResult, Rotation, first_difference
from suite.agreement.subproblems import judged_calls
from suite.cases.case import Case
from variants.catalog import Answers


@dataclass(frozen=True)
class CaseCheck:
    """A case, the attention prepared for it, and the oracle that it is held against.

    `draw` returns the inputs of a number and a stage, the same ones every time.
    """

    case: Case
    answers: Answers
    attention: Any
    prepare: PrepareFunction
    device: torch.device
    draw: Callable[[int, str], Inputs]

    def on_timed_inputs(self, rotation: Rotation, inputs_seed: int, rows_seed: int) -> BudgetCheck:
        """Judge each set of a rotation, and note the results that timed calls are compared with.

        Raises BrokenRule when a call has changed an input.
        """
        judged = [self._judge(inputs, rows_seed) for inputs in rotation.sets]
        self.refuse_changed_inputs(rotation, inputs_seed)
        worst = merge([part for errors, _ in judged for part in errors])
        for place, (_, results) in enumerate(judged):
            noted = [self._judged_result(result, rotation.sets[place], worst) for result in results]
            rotation.set_judged(place, noted)
        return compare_parts([worst], self._dtype)

    def on_new_inputs(self, rows_seed: int, stage: str) -> BudgetCheck:
        """Judge a stage's inputs, drawn from `rows_seed`.

        Raises BrokenRule when the call changes one.
        """
        inputs = self.draw(rows_seed, stage)
        errors, _ = self._judge(inputs, rows_seed)
        _refuse(first_difference(inputs, self.draw(rows_seed, stage)))
        return compare_parts(errors, self._dtype)

    def refuse_changed_inputs(self, rotation: Rotation, inputs_seed: int) -> None:
        """Raise BrokenRule when the timed inputs are not what was drawn."""
        for place in range(len(rotation.sets)):
            _refuse(rotation.input_change(place, self.draw(inputs_seed, f"set {place}")))

    def _judge(
        self, inputs: Inputs, rows_seed: int
    ) -> tuple[Sequence[WorstErrors], Sequence[tuple[str, Tensor]]]:
        """Return the worst errors of each part of a case, and its results by label."""
        errors: list[WorstErrors] = []
        results: list[tuple[str, Tensor]] = []
        for call in judged_calls(self.case, self.attention, self.prepare, inputs, self.device):
            judgement = judge(call, answers=self.answers, seed=rows_seed)
            errors += judgement.errors
            results += judgement.results.items()
        return errors, results

    def _judged_result(
        self, result: tuple[str, Tensor], inputs: Inputs, worst: Mapping[str, Any]
    ) -> JudgedResult:
        """Return a judged result with two budgets: of a head and of a row."""
        label, tensor = result
        widest = f"all {label}" if f"all {label}" in worst else label
        limits = [2 * budget_of(widest, error, self._dtype) for error in worst.get(widest, ())]
        least = least_size(label, inputs, self.case.scale_value)
        return JudgedResult(label, tensor, least, tuple(limits))

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.case.dtype)
        return dtype


def _refuse(name: str | None) -> None:
    if name is not None:
        raise BrokenRule(f"a call wrote over its input {name}")
