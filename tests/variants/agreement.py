"""Whether a variant agrees with the float64 oracle on a case."""

from collections.abc import Callable

import torch

from suite.agreement.inputs import Inputs, draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case
from variants.problem import Attention, Spec

CPU = torch.device("cpu")


def agrees_with_oracle(
    prepare: Callable[[Spec], Attention],
    case: Case,
    change: Callable[[Inputs], None] = lambda _: None,
) -> bool:
    """Compare a call on the CPU with the oracle, after a change of the inputs."""
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    change(inputs)
    with torch.set_grad_enabled(spec.needs_grad):
        return check(prepare(spec), spec, inputs, answers="alibi", seed=0).agrees
