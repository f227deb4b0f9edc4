"""Far values that are far larger: what is left out, merged or rounded may not show in the output.

Trained models have such values: attention sinks and massive activations.
"""

import importlib
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from suite.agreement.inputs import Inputs, draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case, Dtype
from tests.effort import the_first
from tests.suite.answers import CPU, case_of
from tests.variants.formula import truth
from variants.attention import alibi_attention
from variants.catalog import BY_NAME
from variants.problem import Unsupported

VARIANTS = ("native_window", "sdpa_window", "sdpa_halves", "sdpa_folded")
WHOLE = ("sdpa_mask", "eager")
"""They leave nothing out, and show that the judge takes right answers to such values."""


def some_larger_values(inputs: Inputs, factor: float = 30) -> None:
    inputs.v[:, :, :64] *= factor


def much_larger_values(inputs: Inputs) -> None:
    some_larger_values(inputs, 1000)


def one_huge_value(inputs: Inputs) -> None:
    inputs.v[:, :, 5] = 3e4


def values_that_agree_only_far_away(inputs: Inputs) -> None:
    inputs.v[:, :, : inputs.v.shape[2] // 2] = 50


def near_values_that_cancel(inputs: Inputs) -> None:
    inputs.v[:] = 1
    inputs.v[:, :, ::2] = -0.9
    inputs.v[:, :, :64] = 20


def near_values_of_zero(inputs: Inputs) -> None:
    inputs.v[:, :, 400:] = 0


def a_sink(inputs: Inputs) -> None:
    inputs.k[:, :, 0] *= 30
    inputs.v[:, :, 0] /= 100


def massive_queries(inputs: Inputs) -> None:
    inputs.q[:, :, 200:210] *= 30
    inputs.v[:, :, :30] *= 1000


ATTACKS = (
    some_larger_values,
    much_larger_values,
    one_huge_value,
    values_that_agree_only_far_away,
    near_values_that_cancel,
    near_values_of_zero,
    a_sink,
    massive_queries,
)
SQUARE = {"heads": 4, "kv_heads": 4, "head_dim": 64, "q_len": 512, "kv_len": 512}
OTHERS: dict[str, dict[str, int]] = {
    "bidirectional": {"causal": False},
    "grouped": {"heads": 8, "kv_heads": 2, "head_dim": 32},
    "a chunk": {"q_len": 100},
    "decode": {"q_len": 1},
}


def assert_agrees(name: str, case: Case, attack: Callable[[Inputs], None], score: float) -> None:
    """Hold a variant against the judge; both directions of a bidirectional case are attacked."""
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    try:
        attention = importlib.import_module(BY_NAME[name].module).prepare(spec)
    except Unsupported:
        return
    inputs.q.mul_(score)
    inputs.k.mul_(score)
    attack(inputs)
    flipped = replace(inputs, **{part: getattr(inputs, part).flip(2) for part in ("q", "k", "v")})
    for each in (inputs,) if case.causal else (inputs, flipped):
        found = check(attention, spec, each, answers="alibi", seed=0)
        assert found.agrees, found


@pytest.mark.matrix
@pytest.mark.parametrize("score", [0.1, 1.0])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", the_first(len(VARIANTS), [*VARIANTS, *WHOLE]))
def test_far_values_of_any_size_are_answered_rightly(
    name: str, dtype: Dtype, attack: Callable[[Inputs], None], score: float
) -> None:
    assert_agrees(name, case_of(**SQUARE, dtype=dtype), attack, score)


@pytest.mark.matrix
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("name", VARIANTS)
def test_so_they_are_in_other_problems(
    name: str, attack: Callable[[Inputs], None], other: str
) -> None:
    case = case_of(**SQUARE | OTHERS[other], dtype="bfloat16")
    assert_agrees(name, case, attack, 0.1)


@pytest.mark.parametrize(
    ("kv_len", "slope", "row", "wanted"), [(256, 0.0505, 192, 2.422), (2048, 0.02, 512, 1.091)]
)
@pytest.mark.parametrize("name", [*VARIANTS, *WHOLE])
def test_the_smallest_cases_in_which_weight_alone_misled_are_right(
    name: str, kv_len: int, slope: float, row: int, wanted: float
) -> None:
    """native_window said 1 in the first, and sdpa_window in the second."""
    q = torch.zeros(1, 1, kv_len, 8, dtype=torch.bfloat16)
    v = torch.ones_like(q)
    v[:, :, :64] = 1000
    out = alibi_attention(q, q, v, slopes=torch.tensor([slope]), variant=name)[0, 0, :, 0].double()
    right = truth(q, q, v, torch.tensor([slope]))[0, 0, :, 0]
    assert right[row].item() == pytest.approx(wanted, abs=1e-3)
    assert ((out - right).abs() / right).max() < 1e-2


@pytest.mark.parametrize("name", [*VARIANTS, *WHOLE])
def test_a_value_may_be_as_large_as_its_weight_is_small(name: str) -> None:
    """Keys whose bias is under -64 may be hidden, but not where their values make up for it."""
    q, v = torch.zeros(1, 1, 256, 8), torch.ones(1, 1, 256, 8)
    v[:, :, 0] = 1e30
    out = alibi_attention(q, q, v, slopes=torch.tensor([0.5]), variant=name)[0, 0, 130, 0]
    wanted = truth(q, q, v, torch.tensor([0.5]))[0, 0, 130, 0]
    assert wanted > 3
    assert out.item() == pytest.approx(wanted.item(), rel=1e-4)
