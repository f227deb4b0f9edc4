"""Every variant gives what the attention of BLOOM, MPT and Falcon gives for the same q, k and v.

The truth is the model's own code in float64, the budget that of suite/agreement. All calls of a
model are held against one budget, because what one row of one query may err is a matter of luck; a
row's number is its token's place in the text. A new line of the catalog is tested without a word.
"""

from functools import cache
from itertools import product

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from suite.agreement.budget import BudgetCheck, compare
from suite.agreement.inputs import slopes_of
from suite.cases.case import Case, Dtype
from tests.peers.models import BLOOM, FALCON, MPT, PEERS, ModelCall, Peer, cases_of, model_calls
from tests.variants.test_variants import (
    DECLINES,
    ROUNDED,
    SLOW_TO_COMPILE,
    declines,
    prepare_variant,
    traits_of,
)
from variants.catalog import BY_NAME, Variant, on
from variants.problem import Attention
from variants.reference import attend

DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")
SHAPES = [(4, 64), (12, 48)]
"""Heads and head_dim: powers of two, and not, which matters to slopes and to scale."""

WORTH_COMPILING = (12, 48, "float32")
Model = tuple[Peer, int, int, Dtype]
VARIANTS = [variant for variant in on("cpu") if variant.answers == "alibi"]

MODELS = {
    f"{peer.name}-h{heads}-d{head_dim}-{dtype}": (peer, heads, head_dim, dtype)
    for peer, (heads, head_dim), dtype in product(PEERS, SHAPES, DTYPES)
}

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)


@cache
def prepare_once(name: str, case: Case) -> Attention:
    """Prepare a variant once for the models that differ in their slopes alone."""
    return prepare_variant(BY_NAME[name], case)


def answer_to(name: str, call: ModelCall) -> Tensor:
    """Return a variant's answer to a call."""
    attention = prepare_once(name, replace(call.case, bias_max=8.0, slope_scale="1"))
    return attention(call.q, call.k, call.v, slopes_of(call.case))


def formula(call: ModelCall, slopes: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what this project's formula makes of a call in `dtype`."""
    q, k, v = (tensor.to(dtype) for tensor in (call.q, call.k, call.v))
    return attend(q, k, v, slopes, scale=call.case.scale_value, causal=True)


def budget_check(
    answers: list[Tensor], calls: tuple[ModelCall, ...], yardsticks: list[Tensor]
) -> BudgetCheck:
    """Compare answers to some calls of a model with their truths."""
    truths = [call.truth for call in calls]
    return compare(*(torch.cat(parts, dim=2) for parts in (answers, truths, yardsticks)))


def is_the_oracle(calls: tuple[ModelCall, ...], slope_factor: float = 1.0) -> bool:
    """Say whether the formula in float64 is the truth, but for its rounding to float32."""
    answers = [
        formula(call, slopes_of(call.case) * slope_factor, torch.float64).float() for call in calls
    ]
    return budget_check(answers, calls, [call.truth.float() for call in calls]).agrees


def formula_yardsticks(calls: tuple[ModelCall, ...]) -> list[Tensor]:
    """Return what errs as the formula does in the case's dtype, against itself in float64.

    Against the models' truth a formula with other slopes would grant its own mistake to all.
    """
    yardsticks = []
    for call in calls:
        slopes = slopes_of(call.case)
        rounded = formula(call, slopes, call.q.dtype).double()
        yardsticks.append(call.truth + rounded - formula(call, slopes, torch.float64))
    return yardsticks


def pairs() -> list[object]:
    """Pair every variant with the models; what is slow to compile, with one of each family."""
    return [
        pytest.param(variant, model, id=f"{variant.name}-{name}")
        for variant in VARIANTS
        for name, model in MODELS.items()
        if variant.name not in SLOW_TO_COMPILE or model[1:] == WORTH_COMPILING
    ]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_oracle_is_the_models_own_code_in_float64(model: Model) -> None:
    assert is_the_oracle(model_calls(*model))


@pytest.mark.parametrize(("variant", "model"), pairs())
def test_a_variant_gives_what_the_model_gives(variant: Variant, model: Model) -> None:
    calls = tuple(call for call in model_calls(*model) if not declines(variant, call.case))
    answers = [answer_to(variant.name, call) for call in calls]
    if (variant.name, calls[0].case.dtype) in ROUNDED:  # as the models do in their key rows
        yardsticks = [call.in_float32 for call in calls]
    else:
        yardsticks = formula_yardsticks(calls)
    found = budget_check(answers, calls, yardsticks)
    assert found.agrees, found


@pytest.mark.parametrize(
    ("variant", "case"),
    [
        pytest.param(variant, case, id=f"{variant.name}-{case.id}")
        for variant in VARIANTS
        for shape, dtype in product(SHAPES, DTYPES)
        for case in cases_of(BLOOM, *shape, dtype)
        if declines(variant, case)
    ],
)
def test_a_call_that_a_variant_declines_it_declines_with_a_reason(
    variant: Variant, case: Case
) -> None:
    reasons = [DECLINES.get((variant.name, trait)) for trait in traits_of(case)]
    kind, words = next(reason for reason in reasons if reason)
    with pytest.raises(kind, match=words):
        prepare_variant(variant, case)


def test_falcons_eager_path_has_the_bias_twice() -> None:
    calls = model_calls(FALCON, 4, 64, "float32", path="eager")
    assert is_the_oracle(calls, slope_factor=2.0)
    assert not is_the_oracle(calls)


def test_mpt_has_the_slopes_of_a_bias_max_of_8_whatever_its_configuration_says() -> None:
    as_asked, by_default = (
        model_calls(MPT, 4, 64, "float32", bias_max=16),
        model_calls(MPT, 4, 64, "float32"),
    )
    for asked, default in zip(as_asked, by_default, strict=True):
        assert torch.equal(asked.truth, default.truth)


@pytest.mark.parametrize(("peer", "dtype"), list(product(PEERS, DTYPES)), ids=str)
def test_of_what_models_answer_themselves_only_mpts_bfloat16_keeps_the_budget(
    peer: Peer, dtype: Dtype
) -> None:
    calls = model_calls(peer, 12, 48, dtype)
    found = budget_check([call.answer for call in calls], calls, formula_yardsticks(calls))
    assert found.agrees == (peer is MPT and dtype == "bfloat16"), found
