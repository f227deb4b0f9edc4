"""Every row of a long case is looked at, whichever rows are drawn for float64."""

import pytest
import torch
from torch import Tensor

from suite.agreement.judge import rows_to_check
from suite.agreement.survey import WORST_ROWS, worst_rows
from suite.cases.case import Case
from tests.suite.answers import (
    CPU,
    Change,
    case_of,
    changed_at,
    compared,
    each_dtype,
    spoiled,
    variant,
    with_gradients,
)
from variants.problem import Attention

pytestmark = pytest.mark.usefixtures("one_thread")

SEED = 5
BY_THREE_BUDGETS = {"float32": 2e-6, "bfloat16": 5e-2, "float16": 6e-3}


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
        change: Change = changed_at((0, 1, row), lambda out: out * (1 + BY_THREE_BUDGETS[dtype]))
        found = compared(spoiled(change, case), case, SEED)
        assert not found.agrees
        assert found.where == f"out, batch 0 head 1 row {row}"


def test_one_number_of_a_row_that_is_not_drawn_is_caught_if_it_is_no_number() -> None:
    case = long_case(dtype="bfloat16")
    row = rows_not_drawn()[1]
    change = changed_at((0, 0, row, 3), lambda number: number * torch.nan)
    found = compared(spoiled(change, case), case, SEED)
    assert not found.agrees
    assert found.where == "out, batch 0 head 0"


@each_dtype
def test_dq_of_a_row_that_is_not_drawn_is_caught(dtype: str) -> None:
    case = long_case(dtype=dtype, mode="backward")
    row = rows_not_drawn()[2]
    change = changed_at((0, 1, row), torch.zeros_like)
    found = compared(with_gradients({"dq": change}, case), case, SEED)
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

    found = compared(attention, case, SEED)
    assert not found.agrees
    assert found.where.startswith(("dk", "dv"))


@each_dtype
@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_right_answers_of_long_cases_raise_no_alarm(mode: str, dtype: str) -> None:
    for changes in ({}, {"causal": False}, {"logit_scale": 4.0}):
        case = long_case(dtype=dtype, mode=mode, **changes)
        attention: Attention = variant("eager", case)
        for seed in range(3):
            found = compared(attention, case, seed)
            assert found.agrees, (changes, seed, found)


def test_the_rows_that_look_worst_are_added_to_those_drawn_and_sorted() -> None:
    errors = torch.zeros(700)
    errors[[5, 600]] = torch.tensor([2.0, torch.inf])
    rows = torch.arange(0, 700, 7)
    picked = worst_rows(errors, rows)
    assert {5, 600} <= set(picked.tolist())
    assert len(picked) == len(set(picked.tolist())) == len(rows) + WORST_ROWS
    assert picked.tolist() == sorted(picked.tolist())
