"""Planted mistakes in the bias or the mask are caught, in every dtype."""

import math

import pytest
import torch
from torch import Tensor
from torch.linalg import vector_norm

from suite.agreement.inputs import draw
from tests.suite.answers import (
    CPU,
    Make,
    attention_with,
    budget_check,
    case_of,
    distance,
    each_dtype,
    faithful,
    variant,
    with_half_a_window,
)
from variants.problem import Attention, Spec
from variants.reference import attend

pytestmark = pytest.mark.usefixtures("one_thread")


def without_bias(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Drop the bias."""
    return torch.zeros(()), faithful(spec, slopes)[1]


def with_the_sign_flipped(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Reward distance."""
    bias, seen = faithful(spec, slopes)
    return -bias, seen


def with_slopes_in_reverse(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Give the first head the last head's slope."""
    return faithful(spec, slopes.flip(0))


def with_the_paper_s_literal_slopes(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Take 2^(-8/n) for a number of heads that is no power of two."""
    return faithful(spec, 2.0 ** (-8 * torch.arange(1, spec.heads + 1) / spec.heads))


def seeing_one_future_key(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Put the causal edge one key too far."""
    return faithful(spec, slopes)[0], distance(spec) <= 1


def blind_to_its_own_key(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Put the causal edge one key too near."""
    return faithful(spec, slopes)[0], distance(spec) < 0


def one_off_in_distance(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Centre a bidirectional bias on the key before."""
    return slopes[:, None, None] * -(distance(spec) + 1).abs(), faithful(spec, slopes)[1]


def aligned_top_left(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Stand the queries at the first keys."""
    ahead = distance(spec) + (spec.kv_len - spec.q_len)
    return slopes[:, None, None] * -ahead.abs(), ahead <= 0


def by_key_alone_in_bfloat16(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Round slope * j to bfloat16."""
    bias = (slopes[:, None, None] * torch.arange(spec.kv_len)).bfloat16().float()
    return bias, faithful(spec, slopes)[1]


SHORTER: dict[str, object] = {"q_len": 48, "kv_len": 96}
LONG: dict[str, object] = {"q_len": 512, "kv_len": 512, "heads": 2, "kv_heads": 2, "head_dim": 16}
MUTANTS: list[tuple[Make, dict[str, object]]] = [
    (without_bias, {}),
    (with_the_sign_flipped, {}),
    (with_slopes_in_reverse, {}),
    (with_the_paper_s_literal_slopes, {"heads": 12, "kv_heads": 12}),
    (seeing_one_future_key, {}),
    (blind_to_its_own_key, SHORTER),
    (one_off_in_distance, {"causal": False}),
    (aligned_top_left, SHORTER),
    (by_key_alone_in_bfloat16, LONG | {"heads": 4, "kv_heads": 4}),
    (with_half_a_window, LONG),
]
each_mutant = pytest.mark.parametrize(
    ("mutant", "changes"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS]
)


@each_dtype
@each_mutant
def test_a_planted_mistake_is_caught_by_at_least_four_budgets(
    mutant: Make, changes: dict[str, object], dtype: str
) -> None:
    case = case_of(dtype=dtype, **changes)
    found = budget_check(attention_with(mutant, case), case)
    assert not found.agrees
    assert 4 <= found.excess < math.inf, found


@each_dtype
@each_mutant
def test_the_same_code_without_the_mistake_agrees(
    mutant: Make, changes: dict[str, object], dtype: str
) -> None:
    case = case_of(dtype=dtype, **changes)
    found = budget_check(attention_with(faithful, case), case)
    assert found.agrees, found


@pytest.mark.matrix
@each_dtype
@each_mutant
def test_a_planted_mistake_is_caught_in_backward_too(
    mutant: Make, changes: dict[str, object], dtype: str
) -> None:
    case = case_of(dtype=dtype, mode="backward", **changes)
    assert budget_check(attention_with(faithful, case), case).agrees
    assert budget_check(attention_with(mutant, case), case).excess >= 4


@pytest.mark.heavy
def test_half_a_window_passes_a_budget_over_the_whole_tensor_and_is_caught_by_rows() -> None:
    case = case_of(q_len=1536, kv_len=1536, dtype="bfloat16")
    inputs, right = draw(case, 0, "before", CPU), variant("eager", case)
    windowed = attention_with(with_half_a_window, case)
    q, k, v = (tensor.double() for tensor in (inputs.q, inputs.k, inputs.v))
    truth = attend(q, k, v, inputs.slopes, scale=case.scale_value, causal=True)

    def whole_error(attention: Attention) -> float:
        difference = attention(inputs.q, inputs.k, inputs.v, inputs.slopes).double() - truth
        return float(vector_norm(difference) / vector_norm(truth))

    assert whole_error(windowed) < min(2e-2, 2 * whole_error(right))
    found = budget_check(windowed, case)
    assert found.excess >= 4
    assert "head 7 row" in found.where


def test_slopes_that_are_a_tenth_too_steep_are_caught_where_scores_are_large() -> None:
    case = case_of(head_dim=64, q_len=256, kv_len=256, dtype="bfloat16", logit_scale=16.0)
    right = variant("eager", case)

    def too_steep(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return right(q, k, v, 1.1 * slopes)

    assert budget_check(right, case).agrees
    found = budget_check(too_steep, case)
    assert found.excess >= 4, found


@pytest.mark.parametrize(("factor", "logit_scale"), [(1.03, 4.0), (1.05, 8.0)])
def test_a_whole_output_that_is_a_few_percent_too_large_is_caught_at_large_logits(
    factor: float, logit_scale: float
) -> None:
    case = case_of(head_dim=64, q_len=256, kv_len=256, dtype="bfloat16", logit_scale=logit_scale)
    right = variant("eager", case)
    assert budget_check(right, case).agrees
    assert not budget_check(lambda *inputs: factor * right(*inputs), case).agrees
