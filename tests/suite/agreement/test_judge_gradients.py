"""Wrong gradients are caught and named; right ones raise no alarm."""

import math

import pytest
import torch
from torch import Tensor

from tests.effort import examples
from tests.suite.answers import (
    Change,
    budget_check,
    case_of,
    change_at,
    each_dtype,
    variant,
    with_gradients,
)

pytestmark = pytest.mark.usefixtures("one_thread")

GRADIENT_MUTANTS: dict[str, tuple[str, str, Change]] = {
    "dq without the scale": ("dq", "dq, batch", lambda gradient: gradient * 32**0.5),
    "dq with the wrong sign": ("dq", "dq, batch", torch.neg),
    "dq zero in one row": ("dq", "dq, batch 1 head 2", change_at((1, 2, 40), torch.zeros_like)),
    "dk zero in one head": ("dk", "dk, batch 0 head 3", change_at((0, 3), torch.zeros_like)),
    "dk of another head": ("dk", "dk, batch", lambda gradient: gradient.roll(1, dims=1)),
    "dk not a number": (
        "dk",
        "dk, batch 1 head 1",
        change_at((1, 1, 5, 5), lambda element: element * math.nan),
    ),
    "dv doubled in one row": (
        "dv",
        "dv, batch 0 head 6 row 17",
        change_at((0, 6, 17), lambda values: values * 2),
    ),
    "dv doubled in the last row": (
        "dv",
        "dv, batch 0 head 6 row 127",
        change_at((0, 6, 127), lambda values: values * 2),
    ),
}


@each_dtype
@pytest.mark.parametrize("name", GRADIENT_MUTANTS)
def test_a_wrong_gradient_is_caught_and_named(name: str, dtype: str) -> None:
    case = case_of(dtype=dtype, mode="backward", batch=2)
    of, where, change = GRADIENT_MUTANTS[name]
    found = budget_check(with_gradients({of: change}, case), case)
    assert not found.agrees
    assert found.excess >= 4
    assert found.where.startswith(where)


@each_dtype
def test_gradients_left_as_they_are_agree(dtype: str) -> None:
    case = case_of(dtype=dtype, mode="backward", batch=2)
    assert budget_check(
        with_gradients(dict.fromkeys(["dq", "dk", "dv"], torch.clone), case), case
    ).agrees


@each_dtype
def test_gradients_summed_over_the_wrong_group_are_caught(dtype: str) -> None:
    case = case_of(dtype=dtype, mode="backward", kv_heads=2)
    assert budget_check(variant("sdpa_mask", case), case).agrees

    def interleave_heads(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return variant("eager", case_of(dtype=dtype))(
            q, k.repeat(1, 4, 1, 1), v.repeat(1, 4, 1, 1), slopes
        )

    assert budget_check(interleave_heads, case).excess >= 4


def test_a_single_token_raises_no_alarm_in_backward() -> None:
    case = case_of(heads=2, kv_heads=2, head_dim=16, q_len=1, kv_len=1, mode="backward")
    attention = variant("sdpa_mask", case)
    assert all(budget_check(attention, case, seed).agrees for seed in range(examples(100)))


@pytest.mark.parametrize(
    "dtype",
    ["float32", *(pytest.param(each, marks=pytest.mark.heavy) for each in ("bfloat16", "float16"))],
)
def test_a_long_case_has_its_gradients_checked_in_every_key(dtype: str) -> None:
    case = case_of(dtype=dtype, mode="backward", q_len=700, kv_len=700, heads=2, kv_heads=2)
    for key in (0, 1, 300, 650):
        change = change_at((0, 1, key), lambda values: values * 2)
        for name in ("dk", "dv"):
            found = budget_check(with_gradients({name: change}, case), case)
            assert not found.agrees, (name, key, found)
