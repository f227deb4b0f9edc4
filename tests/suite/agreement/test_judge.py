"""Wrong answers are caught, head by head and row by row; right ones raise no alarm."""

import math

import pytest
import torch
from torch import Tensor

from suite.agreement.budget import compare, compare_parts
from suite.agreement.errors import WorstError
from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.agreement.oracle.formula import Noise, Scoring, attend
from tests.effort import examples
from tests.suite.answers import (
    CPU,
    Change,
    budget_check,
    case_of,
    change_at,
    each_dtype,
    spoil,
    variant,
)
from variants.problem import Attention

pytestmark = pytest.mark.usefixtures("one_thread")


@each_dtype
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_element_that_is_no_number_disagrees(value: float, dtype: str) -> None:
    case = case_of(dtype=dtype, batch=2)
    spot = (1, 5, 77, 3)
    change = change_at(spot, lambda element: torch.full_like(element, value))
    found = budget_check(spoil(change, case), case)
    assert not found.agrees
    assert found.excess == math.inf
    assert found.where.startswith("out, batch 1 head 5")


@each_dtype
def test_zeros_disagree(dtype: str) -> None:
    case = case_of(dtype=dtype)
    assert budget_check(spoil(torch.zeros_like, case), case).excess >= 4


@each_dtype
@pytest.mark.parametrize("row", [0, 64, 127])
def test_one_wrong_row_of_one_head_is_caught_and_named(row: int, dtype: str) -> None:
    case = case_of(dtype=dtype, batch=2)
    change = change_at((1, 5, row), lambda values: values * 1.5)
    found = budget_check(spoil(change, case), case)
    assert found.excess >= 4
    assert found.where in {"out, batch 1 head 5", f"out, batch 1 head 5 row {row}"}


def test_a_slight_mistake_in_every_row_is_caught_by_the_head_though_every_row_passes() -> None:
    case = case_of(head_dim=64)
    found = budget_check(spoil(lambda out: out * (1 + 2e-6), case), case)
    assert not found.agrees
    assert "row" not in found.where


@each_dtype
def test_swapped_heads_are_caught(dtype: str) -> None:
    case = case_of(dtype=dtype)
    assert budget_check(spoil(lambda out: out.roll(1, dims=1), case), case).excess >= 4


@pytest.mark.parametrize(
    "change",
    [
        lambda out: out[..., :16],
        lambda out: out[:, :4],
        lambda out: out.double(),
    ],
    ids=["half the channels", "half the heads", "another dtype"],
)
def test_another_shape_or_dtype_disagrees(change: Change) -> None:
    case = case_of()
    assert not budget_check(spoil(change, case), case).agrees


@pytest.mark.parametrize(
    "change",
    [lambda out: out[:, :, :100], lambda out: torch.cat([out, out], dim=2)],
    ids=["fewer rows", "more rows"],
)
def test_another_number_of_rows_disagrees(change: Change) -> None:
    case = case_of()
    assert not budget_check(spoil(change, case), case).agrees


@pytest.mark.matrix
@each_dtype
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", ["eager", "sdpa_mask"])
def test_right_answers_raise_no_alarm_in_any_draw(name: str, mode: str, dtype: str) -> None:
    for changes in (
        {"heads": 12, "kv_heads": 4, "q_len": 97, "kv_len": 97},
        {"q_len": 24, "kv_len": 80, "layout": "bnhd"},
        {"q_len": 64, "kv_len": 64, "causal": False},
    ):
        case = case_of(dtype=dtype, mode=mode, **changes)
        attention = variant(name, case)
        for seed in range(examples(16)):
            found = budget_check(attention, case, seed)
            assert found.agrees, (changes, seed, found)


@each_dtype
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", ["eager", "sdpa_mask"])
def test_right_answers_of_few_rows_stay_well_within_the_budget(
    name: str, mode: str, dtype: str
) -> None:
    for changes in (
        {"q_len": 5, "kv_len": 5, "heads": 1, "kv_heads": 1},
        {"q_len": 20, "kv_len": 20, "heads": 2, "kv_heads": 2},
        {"q_len": 1, "kv_len": 60, "heads": 2, "kv_heads": 2},
    ):
        case = case_of(dtype=dtype, mode=mode, head_dim=8, logit_scale=2.0, **changes)
        attention = variant(name, case)
        for seed in range(examples(64)):
            found = budget_check(attention, case, seed)
            assert found.excess < 0.8, (changes, seed, found)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["eager", "sdpa_mask", "native_window"])
def test_right_answers_to_uneven_tokens_raise_no_alarm(name: str) -> None:
    case = case_of(batch=2, heads=4, kv_heads=2, q_len=299, kv_len=299)
    attention = variant(name, case)
    for seed in (1190, *range(40)):  # at 1190 two large scores nearly tie
        inputs, spec = draw(case, seed, "uneven", CPU), spec_of(case, CPU)
        result = check(attention, spec, inputs, answers="alibi", seed=seed)
        assert result.agrees, (seed, result)


def test_the_order_of_sums_is_allowed_for_and_four_times_its_rounding_is_not() -> None:
    case = case_of()
    right = budget_check(variant("eager", case), case)
    assert 0.1 < right.excess < 0.4
    wrong = budget_check(spoil(lambda out: out * (1 + 2 * right.budget), case), case)
    assert wrong.excess > 1.5


def test_bias_free_attention_is_held_to_its_own_oracle() -> None:
    case = case_of(dtype="bfloat16")
    inputs, spec, attention = (
        draw(case, 0, "before", CPU),
        spec_of(case, CPU),
        variant("eager", case),
    )
    stock = variant("no_bias", case)
    assert check(stock, spec, inputs, answers="no_bias", seed=0).agrees
    assert check(attention, spec, inputs, answers="no_bias", seed=0).excess >= 4


def constant_answer(attention: Attention) -> Attention:
    """Return attention that answers for ever what it answered first."""
    answers: list[Tensor] = []

    def answer(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        if not answers:
            answers.append(attention(q, k, v, slopes))
        return answers[0]

    return answer


@each_dtype
def test_a_kept_answer_passes_before_timing_and_is_caught_after_it(dtype: str) -> None:
    case = case_of(dtype=dtype)
    attention = constant_answer(variant("eager", case))
    assert budget_check(attention, case, stage="before").agrees
    assert budget_check(attention, case, stage="before").agrees
    assert budget_check(attention, case, stage="after").excess >= 4
    assert budget_check(variant("eager", case), case, stage="after").agrees


@each_dtype
def test_a_bias_kept_from_the_first_slopes_is_caught_after_timing(dtype: str) -> None:
    case = case_of(dtype=dtype)
    first, right = draw(case, 0, "before", CPU).slopes, variant("eager", case)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return right(q, k, v, first)

    assert budget_check(attention, case, stage="before").agrees
    assert budget_check(attention, case, stage="after").excess >= 4


def test_a_truth_from_elsewhere_is_compared_with_in_the_same_way() -> None:
    case = case_of()
    inputs, spec = draw(case, 0, "before", CPU), spec_of(case, CPU)
    attention = variant("sdpa_mask", case)
    found = check(attention, spec, inputs, answers="alibi", seed=0)
    noise = Noise(torch.Generator().manual_seed(0))
    positions = torch.arange(spec.q_len)
    truth, *draws = (
        attend(
            inputs.q.to(dtype),
            inputs.k.to(dtype),
            inputs.v.to(dtype),
            inputs.slopes,
            Scoring(spec.scale, spec.causal, positions, dtype, noise_of_dtype),
        )
        for dtype, noise_of_dtype in [(torch.float64, None), *[(torch.float32, noise)] * 6]
    )
    answer = attention(inputs.q, inputs.k, inputs.v, inputs.slopes)
    by_draw = [compare(answer, truth, yardstick) for yardstick in draws]
    alike = [each for each in by_draw if each.where == found.where]
    assert {each.error for each in alike} == {found.error}
    widest = max(each.budget for each in alike)
    assert found.budget == pytest.approx(widest, rel=0.1)  # draws come in another order


@pytest.mark.parametrize(("name", "times"), [("out", 2), ("dq", 4), ("dk", 4), ("dv", 4)])
def test_a_budget_is_so_many_times_what_the_formula_loses_or_so_many_eps(
    name: str, times: int
) -> None:
    eps = torch.finfo(torch.float32).eps
    for own, budget in ((1e-5, times * 1e-5), (0.0, times * eps)):
        for error, agrees in ((0.99 * budget, True), (1.01 * budget, False)):
            found = compare_parts([{name: [WorstError(error, own, "head")] * 2}], torch.float32)
            assert found.budget == pytest.approx(budget)
            assert found.agrees == agrees


def test_the_parts_of_a_case_share_one_budget_and_the_worst_part_is_named() -> None:
    lucky = {
        "out": [WorstError(3e-6, 1e-7, "step at 5: head"), WorstError(3e-6, 1e-7, "step at 5: row")]
    }
    usual = {
        "out": [WorstError(1e-6, 2e-6, "step at 6: head"), WorstError(1e-6, 2e-6, "step at 6: row")]
    }
    assert not compare_parts([lucky], torch.float32).agrees
    together = compare_parts([usual, lucky], torch.float32)
    assert together.agrees
    assert (together.error, together.budget, together.where) == (3e-6, 4e-6, "step at 5: head")
    wrong = {
        "out": [WorstError(math.inf, 0.0, "step at 7: out is no tensor of the right shape")] * 2
    }
    assert compare_parts([usual, wrong, lucky], torch.float32).excess == math.inf
