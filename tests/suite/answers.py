"""Right answers and wrong ones, for the tests of agreement."""

import importlib
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from suite.agreement.budget import BudgetCheck
from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case
from variants.catalog import BY_NAME
from variants.problem import Attention, Spec

CPU = torch.device("cpu")
DTYPES = ["float32", "bfloat16", "float16"]
Change = Callable[[Tensor], Tensor]
Make = Callable[[Spec, Tensor], tuple[Tensor, Tensor]]
"""(spec, slopes) -> bias, and which keys are seen; both broadcast to [heads, q_len, kv_len]."""
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def case_of(**changes: object) -> Case:
    """Return a small causal case with some values changed."""
    values: dict[str, Any] = {
        "heads": 8,
        "kv_heads": 8,
        "head_dim": 32,
        "q_len": 128,
        "kv_len": 128,
        "dtype": "float32",
    }
    return Case(**(values | changes))


def variant(name: str, case: Case) -> Attention:
    """Prepare a variant of the catalog."""
    attention: Attention = importlib.import_module(BY_NAME[name].module).prepare(spec_of(case, CPU))
    return attention


def budget_check(
    attention: Attention, case: Case, seed: int = 0, stage: str = "before"
) -> BudgetCheck:
    """Check an attention on one draw of a case."""
    inputs = draw(case, seed, stage, CPU)
    return check(attention, spec_of(case, CPU), inputs, answers="alibi", seed=seed)


def attention_with(make: Make, case: Case) -> Attention:
    """Return attention in the case's dtype with the bias and the mask that `make` makes."""
    spec = spec_of(case, CPU)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        bias, seen = make(spec, slopes)
        scores = q.float() @ k.float().mT * spec.scale + bias
        weights = scores.masked_fill(~seen, -math.inf).softmax(dim=-1)
        return weights.to(v.dtype) @ v

    return attention


def attention_with_groups(make: Make, case: Case) -> Attention:
    """Return `attention_with` for fewer kv heads than heads."""
    attention = attention_with(make, case)
    groups = case.heads // case.kv_heads

    def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return attention(
            q, k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1), slopes
        )

    return attend


def distance(spec: Spec) -> Tensor:
    """Return how far ahead of each query each key is: [q_len, kv_len]."""
    keys = torch.arange(spec.kv_len)
    return keys - keys[spec.kv_len - spec.q_len :, None]


def faithful(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Make ALiBi."""
    ahead = distance(spec)
    seen = ahead <= 0 if spec.causal else torch.ones_like(ahead, dtype=torch.bool)
    return slopes[:, None, None] * -ahead.abs(), seen


def with_half_a_window(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Forget the further half of the keys."""
    bias, seen = faithful(spec, slopes)
    return bias, seen & (distance(spec) > -spec.kv_len // 2)


def spoil(change: Change, case: Case) -> Attention:
    """Return right attention whose answer is then changed."""
    right = variant("eager", case)
    return lambda q, k, v, slopes: change(right(q, k, v, slopes))


def change_at(spot: tuple[int, ...], change: Change) -> Change:
    """Return a change of one part of a tensor."""

    def change_spot(tensor: Tensor) -> Tensor:
        copy = tensor.clone()
        copy[spot] = change(copy[spot])
        return copy

    return change_spot


def with_gradients(changes: dict[str, Change], case: Case) -> Attention:
    """Return right attention whose gradients of q, k and v are then changed."""
    right = variant("eager", case)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        views = {"dq": q.view_as(q), "dk": k.view_as(k), "dv": v.view_as(v)}
        for name, change in changes.items():
            views[name].register_hook(change)
        return right(views["dq"], views["dk"], views["dv"], slopes)

    return attention
