"""Every row of a long case is looked at, whichever rows are drawn for float64."""

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from suite.agreement.budget import budget_of
from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import judge, rows_to_check
from suite.agreement.oracle.formula import attend
from suite.agreement.subproblems import EVERYWHERE, JudgedCall, Part
from suite.agreement.survey import WORST_ROWS, worst_rows
from suite.cases.case import DTYPES, Case
from tests.effort import the_first
from tests.suite.answers import (
    CPU,
    Change,
    budget_check,
    case_of,
    change_at,
    each_dtype,
    spoil,
    variant,
    with_gradients,
)
from variants.problem import Attention

pytestmark = pytest.mark.usefixtures("one_thread")

SEED = 5
BY_THREE_BUDGETS = {"float32": 1.5e-5, "bfloat16": 5e-2, "float16": 6e-3}


def long_case(**changes: object) -> Case:
    """Return a case of 700 queries, of which 256 are drawn for float64."""
    return case_of(q_len=700, kv_len=700, heads=2, kv_heads=2, head_dim=16, **changes)


def rows_not_drawn() -> list[int]:
    """Return some rows that are not drawn."""
    drawn = set(rows_to_check(700, SEED, CPU).tolist())
    return [row for row in range(700) if row not in drawn][::97]


@each_dtype
def test_a_row_that_is_not_drawn_is_caught_though_it_is_off_by_three_budgets_only(
    dtype: str,
) -> None:
    case = long_case(dtype=dtype)
    for row in rows_not_drawn():
        change: Change = change_at((0, 1, row), lambda out: out * (1 + BY_THREE_BUDGETS[dtype]))
        found = budget_check(spoil(change, case), case, SEED)
        assert not found.agrees
        assert found.where in {"out, batch 0 head 1", f"out, batch 0 head 1 row {row}"}


def test_one_number_of_a_row_that_is_not_drawn_is_caught_if_it_is_no_number() -> None:
    case = long_case(dtype="bfloat16")
    row = rows_not_drawn()[1]
    change = change_at((0, 0, row, 3), lambda number: number * torch.nan)
    found = budget_check(spoil(change, case), case, SEED)
    assert not found.agrees
    assert found.where == "out, batch 0 head 0"


@each_dtype
def test_dq_of_a_row_that_is_not_drawn_is_caught(dtype: str) -> None:
    case = long_case(dtype=dtype, mode="backward")
    row = rows_not_drawn()[2]
    change = change_at((0, 1, row), torch.zeros_like)
    found = budget_check(with_gradients({"dq": change}, case), case, SEED)
    assert not found.agrees
    assert found.where == f"dq, batch 0 head 1 row {row}"


@each_dtype
def test_dk_and_dv_that_lack_a_query_that_is_not_drawn_are_caught(dtype: str) -> None:
    case = long_case(dtype=dtype, mode="backward")
    row, right = rows_not_drawn()[3], variant("eager", case)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        out, lacking = (right(q, *keys, slopes) for keys in ((k, v), (k.detach(), v.detach())))
        is_row = (torch.arange(700) == row)[:, None]
        return torch.where(is_row, lacking, out)

    found = budget_check(attention, case, SEED)
    assert not found.agrees
    assert found.where.startswith(("dk", "dv"))


@pytest.mark.matrix
@each_dtype
@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_right_answers_of_long_cases_raise_no_alarm(mode: str, dtype: str) -> None:
    for changes in ({}, {"causal": False}, {"logit_scale": 4.0}):
        case = long_case(dtype=dtype, mode=mode, **changes)
        attention: Attention = variant("eager", case)
        for seed in range(3):
            found = budget_check(attention, case, seed)
            assert found.agrees, (changes, seed, found)


@pytest.mark.parametrize("dtype", the_first(1, DTYPES))
def test_a_chunk_over_many_keys_that_hardly_anyone_sees_raises_no_alarm(dtype: str) -> None:
    case = case_of(
        dtype=dtype, mode="backward", heads=2, kv_heads=2, head_dim=16, q_len=576, kv_len=4096
    )
    found = budget_check(variant("eager", case), case)
    assert found.agrees, found


@each_dtype
@pytest.mark.parametrize("changes", [{}, {"q_len": 128, "kv_len": 1024}], ids=["all", "chunk"])
def test_no_row_has_a_budget_that_excuses_anything(dtype: str, changes: dict[str, int]) -> None:
    case = case_of(
        **({"heads": 2, "kv_heads": 2, "head_dim": 16, "q_len": 700, "kv_len": 700} | changes),
        dtype=dtype,
        mode="backward",
    )
    spec, inputs = spec_of(case, CPU), draw(case, 0, "set 0", CPU)
    call = JudgedCall(variant("eager", case), inputs, [Part("", spec, EVERYWHERE, EVERYWHERE)])
    (errors,) = judge(call, answers="alibi", seed=SEED).errors
    for label, worst in errors.items():
        for error in worst:
            budget = budget_of(label, error, spec.dtype)
            most_eps = (100 if "all" in label else 40) * (3 if dtype == "float32" else 1)
            assert budget < most_eps * torch.finfo(spec.dtype).eps, label


def test_float32_products_of_the_oracle_are_exact_whatever_a_variant_has_set() -> None:
    case, seen = long_case(), []

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        torch.set_float32_matmul_precision("high")
        return variant("eager", case)(q, k, v, slopes)

    def spy(*arguments: Any) -> Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return attend(*arguments)

    with patch("suite.agreement.oracle.evaluate.attend", spy):
        assert budget_check(attention, case).agrees
    assert set(seen) == {"highest"}
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision("highest")


def test_the_rows_that_look_worst_are_added_to_those_drawn_and_sorted() -> None:
    errors = torch.zeros(700)
    errors[[5, 600]] = torch.tensor([2.0, torch.inf])
    rows = torch.arange(0, 700, 7)
    picked = worst_rows(errors, rows)
    assert {5, 600} <= set(picked.tolist())
    assert len(picked) == len(set(picked.tolist())) == len(rows) + WORST_ROWS
    assert picked.tolist() == sorted(picked.tolist())
