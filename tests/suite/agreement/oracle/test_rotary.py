"""The rotary oracle turns as the definition says, and sees what models have got wrong."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from suite.agreement.budget import BudgetCheck
from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.agreement.oracle.formula import rotate
from suite.cases.case import Case
from tests.suite.answers import CPU, case_of, each_dtype, variant
from variants.problem import Attention

pytestmark = pytest.mark.usefixtures("one_thread")

Turn = Callable[[Tensor, Tensor], Tensor]
"""(rows [..., rows, head_dim], positions [rows]) -> rows turned, rightly or not."""


def by_complex_numbers(rows: Tensor, positions: Tensor) -> Tensor:
    """Turn as the paper has it: a plane is a complex number, times e^(i * position * frequency)."""
    first, second = rows.double().chunk(2, dim=-1)
    half = first.shape[-1]
    frequencies = [10000.0 ** (-channel / half) for channel in range(half)]
    angles = positions.double()[:, None] * torch.tensor(frequencies, dtype=torch.float64)
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], dim=-1)


def test_rows_are_turned_as_complex_numbers_are() -> None:
    rows, positions = torch.randn(2, 3, 5, 8).double(), torch.tensor([0, 1, 2, 500, 90000])
    assert torch.allclose(rotate(rows, positions), by_complex_numbers(rows, positions))
    assert torch.equal(rotate(rows, positions)[:, :, 0], rows[:, :, 0])


def test_turning_keeps_lengths_and_is_undone_by_turning_back() -> None:
    rows, positions = torch.randn(1, 2, 9, 64).double(), torch.arange(100, 109)
    turned = rotate(rows, positions)
    assert torch.allclose(turned.norm(dim=-1), rows.norm(dim=-1))
    assert torch.allclose(rotate(turned, -positions), rows)


def test_a_product_of_turned_rows_depends_on_their_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 64).double()
    here, there = (
        (rotate(q, torch.tensor([at + 7])) * rotate(k, torch.tensor([at]))).sum()
        for at in (0, 5000)
    )
    assert math.isclose(here, there, rel_tol=1e-9)


def budget_check(attention: Attention, case: Case) -> BudgetCheck:
    """Check an attention as one that answers rope."""
    inputs = draw(case, 0, "before", CPU)
    return check(attention, spec_of(case, CPU), inputs, answers="rope", seed=0)


def attention_that(turn: Turn, case: Case, turn_keys: Turn | None = None) -> Attention:
    """Return attention over rows turned by `turn`, the keys by `turn_keys` if it is given."""
    attend = variant("no_bias", case)
    cached = max(0, case.kv_len - case.q_len)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        queries = torch.arange(case.kv_len - case.q_len, case.kv_len)
        new = (turn_keys or turn)(k[:, :, cached:], torch.arange(cached, case.kv_len))
        return attend(turn(q, queries), torch.cat([k[:, :, :cached], new], dim=2), v, slopes)

    return attention


def one_further(rows: Tensor, positions: Tensor) -> Tensor:
    """Turn by the next position."""
    return rotate(rows, positions + 1)


def from_the_first_row(rows: Tensor, positions: Tensor) -> Tensor:
    """Count positions from the first row that is given."""
    return rotate(rows, positions - positions[0])


def the_other_way(rows: Tensor, positions: Tensor) -> Tensor:
    """Turn back."""
    return rotate(rows, -positions)


def not_at_all(rows: Tensor, positions: Tensor) -> Tensor:
    """Leave rows as they are."""
    return rows


def neighbours_as_pairs(rows: Tensor, positions: Tensor) -> Tensor:
    """Pair channels 2c and 2c + 1, as GPT-J does, in queries and keys alike."""
    apart = torch.cat([rows[..., 0::2], rows[..., 1::2]], dim=-1)
    first, second = rotate(apart, positions).chunk(2, dim=-1)
    return torch.stack([first, second], dim=-1).flatten(-2)


def by_another_base(rows: Tensor, positions: Tensor) -> Tensor:
    """Turn as Code Llama does, whose base is a million."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("suite.agreement.oracle.formula.ROTARY_BASE", 1e6)
        return rotate(rows, positions)


CHUNK: dict[str, object] = {"q_len": 48, "kv_len": 96, "kv_heads": 2}
ONE: dict[str, object] = {"q_len": 1, "kv_len": 96, "kv_heads": 2}
MUTANTS: list[tuple[Turn, Turn, dict[str, object]]] = [
    (not_at_all, not_at_all, {}),
    (rotate, not_at_all, {}),
    (rotate, not_at_all, ONE),
    (not_at_all, rotate, CHUNK),
    (rotate, one_further, {}),
    (one_further, one_further, CHUNK),
    (from_the_first_row, from_the_first_row, CHUNK),
    (the_other_way, rotate, {}),
    (neighbours_as_pairs, neighbours_as_pairs, {}),
    (rotate, neighbours_as_pairs, {"causal": False}),
    (by_another_base, by_another_base, {}),
]
each_mutant = pytest.mark.parametrize(
    ("queries", "keys", "changes"),
    MUTANTS,
    ids=[f"{q.__name__}, keys {k.__name__}, {changes}" for q, k, changes in MUTANTS],
)


@pytest.mark.matrix
@each_dtype
@pytest.mark.parametrize("mode", ["forward", "backward"])
@each_mutant
def test_a_wrong_rotation_is_caught_by_at_least_four_budgets(
    queries: Turn, keys: Turn, changes: dict[str, object], mode: str, dtype: str
) -> None:
    case = case_of(dtype=dtype, mode=mode, **changes)
    right = budget_check(attention_that(rotate, case), case)
    assert right.agrees, right
    found = budget_check(attention_that(queries, case, keys), case)
    assert 4 <= found.excess < math.inf, found


@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_the_variant_turns_what_is_new_and_gives_the_cache_back_as_it_was(mode: str) -> None:
    case = case_of(mode=mode, dtype="bfloat16", **CHUNK)
    inputs, attention = draw(case, 0, "before", CPU), variant("rope", case)
    before = inputs.k.detach().clone()
    assert budget_check(attention, case).agrees
    with torch.set_grad_enabled(mode == "backward"):
        first, second = (attention(inputs.q, inputs.k, inputs.v, inputs.slopes) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(inputs.k, before)
