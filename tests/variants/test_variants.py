"""Every variant that runs on a CPU answers as the float64 oracle does, or declines where it may.

A new line of the catalog is tested here without a word about it.
"""

import importlib
from collections.abc import Container
from typing import get_args

import pytest
import torch

from suite.agreement.budget import BudgetCheck
from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case
from variants.catalog import BY_NAME, CATALOG, Answers, Variant
from variants.problem import Attention, Unsupported

CPU = torch.device("cpu")
ON_CPU = [one for one in CATALOG if one.device != "cuda" and not one.experimental]

PLAIN = [
    Case(heads=1, kv_heads=1, head_dim=64, q_len=1, kv_len=1, dtype="float32"),
    Case(heads=3, kv_heads=3, head_dim=64, q_len=37, kv_len=37, dtype="bfloat16"),
    Case(heads=3, kv_heads=3, head_dim=80, q_len=37, kv_len=37, dtype="float32", mode="backward"),
    Case(heads=12, kv_heads=12, head_dim=64, q_len=130, kv_len=130, dtype="float16"),
    Case(heads=8, kv_heads=2, head_dim=64, q_len=130, kv_len=130, dtype="float32", scale="1/d"),
    Case(
        heads=8,
        kv_heads=8,
        head_dim=64,
        q_len=130,
        kv_len=130,
        dtype="bfloat16",
        scale="1/d",
        layout="bnhd",
    ),
    Case(
        heads=12, kv_heads=12, head_dim=64, q_len=130, kv_len=130, dtype="bfloat16", mode="backward"
    ),
    Case(
        heads=8,
        kv_heads=2,
        head_dim=64,
        q_len=37,
        kv_len=37,
        dtype="float16",
        mode="backward",
        batch=2,
        logit_scale=2.0,
    ),
]
"""Causal, as many queries as keys: those in DECLINES answer what that does not list."""

BEYOND = [
    Case(heads=8, kv_heads=2, head_dim=64, q_len=150, kv_len=400, dtype="bfloat16"),
    Case(
        heads=3,
        kv_heads=3,
        head_dim=64,
        q_len=37,
        kv_len=130,
        dtype="float16",
        causal=False,
        scale="1/d",
    ),
    Case(heads=8, kv_heads=1, head_dim=80, q_len=1, kv_len=200, dtype="float16"),
    Case(heads=12, kv_heads=12, head_dim=64, q_len=1, kv_len=129, dtype="float32"),
    Case(heads=4, kv_heads=2, head_dim=17, q_len=9, kv_len=20, dtype="float32", causal=False),
]
"""A variant may decline these, but those in GENERAL answer them."""

GENERAL = {
    "eager",
    "compile",
    "compile_dynamic",
    "flex",
    "sdpa_mask",
    "rope",
    "alibi_rope",
    "t5_bias",
}

DECLINES = {
    ("rope", "an odd head_dim"): (Unsupported, "make head_dim even"),
    ("alibi_rope", "an odd head_dim"): (Unsupported, "make head_dim even"),
    ("flex", "backward"): (Unsupported, "does not support backward on CPU"),
    ("sdpa_key", "a chunk of queries"): (Unsupported, "aligns top-left"),
    ("sdpa_key", "bidirectional"): (Unsupported, "only when attention is causal"),
    ("compile_blocks", "a query alone"): (Unsupported, "makes no blocks"),
    ("sdpa_halves", "a chunk of queries"): (Unsupported, "as many queries as keys"),
    ("sdpa_halves", "a query alone"): (Unsupported, "as many queries as keys"),
    ("sdpa_halves", "bidirectional"): (Unsupported, "halves need causal attention"),
    ("sdpa_window", "bidirectional"): (Unsupported, "certified for causal attention"),
    ("sdpa_folded", "a chunk of queries"): (Unsupported, "aligns top-left"),
    ("sdpa_folded", "bidirectional"): (Unsupported, "has to be causal"),
    ("sdpa_folded", "float32 gradients of such heads"): (Unsupported, "costs float32 digits"),
}
"""What these variants decline on a CPU, and in what words. Another may decline what it wants to."""

HELD_TO_DECLINES = {name for name, _ in DECLINES} | {"no_bias", "eager", "compile", "sdpa_mask"}

FORWARD_ONLY = {name for name, trait in DECLINES if trait == "backward"}

ROUNDED = {("sdpa_key", "float32"): 1e-5}
"""What gives up digits that the formula keeps, and the error that it may make in PLAIN instead."""

SLOW_TO_COMPILE = {"compile", "compile_blocks", "compile_dynamic", "flex"}
WORTH_COMPILING = [PLAIN[1], PLAIN[2], PLAIN[3], *BEYOND]
WORTH_TRACING = [PLAIN[1], PLAIN[2], BEYOND[0], BEYOND[4]]
SLOW_TO_SEARCH = {"compile_autotune"}
WORTH_SEARCHING = [PLAIN[1]]


def traits_of(case: Case) -> set[str]:
    """Name what may make a variant decline a case."""
    traits = {
        "backward": case.mode == "backward",
        "bidirectional": not case.causal,
        "float32 gradients of such heads": (case.mode, case.dtype) == ("backward", "float32")
        and case.head_dim not in {16, 64},
        "an odd head_dim": bool(case.head_dim % 2),
        "a chunk of queries": case.causal and 1 < case.q_len < case.kv_len,
        "a query alone": case.causal and 1 == case.q_len < case.kv_len,
    }
    return {name for name, holds in traits.items() if holds}


def declines(variant: Variant, case: Case) -> bool:
    """Say whether the table has the variant decline the case."""
    return any((variant.name, trait) in DECLINES for trait in traits_of(case))


def marks_of(variant: Variant, case: Case) -> list[pytest.MarkDecorator]:
    """Return the mark of what the light tier leaves out, because a graph takes half a second."""
    is_left_out = variant.name in SLOW_TO_COMPILE and case not in WORTH_TRACING
    return [pytest.mark.heavy] if is_left_out else []


def pairs(cases: list[Case]) -> list[object]:
    """Pair every variant with the cases it is to answer."""
    return [
        pytest.param(variant, case, id=f"{variant.name}-{case.id}", marks=marks_of(variant, case))
        for variant in ON_CPU
        for case in cases
        if not declines(variant, case)
        and (variant.name not in SLOW_TO_COMPILE or case in WORTH_COMPILING)
        and (variant.name not in SLOW_TO_SEARCH or case in WORTH_SEARCHING)
    ]


def prepare_variant(variant: Variant, case: Case) -> Attention:
    """Prepare a variant for a case on the CPU."""
    prepare = importlib.import_module(variant.module).prepare
    attention: Attention = prepare(spec_of(case, CPU), **variant.options)
    return attention


def prepare_or_decline(
    variant: Variant, case: Case, may_not_decline: Container[str]
) -> Attention | None:
    """Prepare a variant, or return None if it declines with words and is none of those named."""
    try:
        return prepare_variant(variant, case)
    except Unsupported as reason:
        if variant.name in may_not_decline or not str(reason):
            raise
        return None


def budget_check(variant: Variant, case: Case, attention: Attention, stage: str) -> BudgetCheck:
    """Compare one call with the oracle."""
    inputs = draw(case, 0, stage, CPU)
    return check(attention, spec_of(case, CPU), inputs, answers=variant.answers, seed=0)


@pytest.mark.parametrize(("variant", "case"), pairs(PLAIN))
def test_it_answers_as_the_oracle_does_and_does_so_again_for_other_slopes(
    variant: Variant, case: Case
) -> None:
    attention = prepare_or_decline(variant, case, HELD_TO_DECLINES)
    if attention is None:
        return
    for stage in ("before", "after"):
        found = budget_check(variant, case, attention, stage)
        if (variant.name, case.dtype) in ROUNDED:
            assert found.error < ROUNDED[variant.name, case.dtype], found
        else:
            assert found.agrees, found


@pytest.mark.parametrize("variant", ON_CPU, ids=lambda variant: variant.name)
def test_it_answers_at_least_one_of_the_plain_cases(variant: Variant) -> None:
    def answers(case: Case) -> bool:
        try:
            prepare_variant(variant, case)
        except Unsupported:
            return False
        return True

    assert any(map(answers, PLAIN))


@pytest.mark.parametrize(("variant", "case"), pairs(BEYOND))
def test_it_answers_other_problems_as_the_oracle_does_or_declines(
    variant: Variant, case: Case
) -> None:
    attention = prepare_or_decline(variant, case, GENERAL)
    if attention is None:
        return
    for stage in ("before", "after"):
        found = budget_check(variant, case, attention, stage)
        assert found.agrees, found


@pytest.mark.parametrize(("name", "trait"), DECLINES.keys())
def test_what_it_declines_it_declines_before_the_first_call_and_says_why(
    name: str, trait: str
) -> None:
    kind, words = DECLINES[name, trait]
    cases = [case for case in [*PLAIN, *BEYOND] if trait in traits_of(case)]
    assert cases
    for case in cases:
        with pytest.raises(kind, match=words):
            prepare_variant(BY_NAME[name], case)


def test_a_key_row_is_refused_where_torch_would_misread_it() -> None:
    case = Case(heads=2, kv_heads=2, head_dim=64, q_len=8, kv_len=8, dtype="bfloat16")
    spec = spec_of(case, torch.device("cuda"))
    with pytest.raises(Unsupported, match="on the CPU only"):
        importlib.import_module("variants.sdpa.sdpa_key").prepare(spec)


def test_a_float32_key_row_loses_digits_that_the_formula_keeps() -> None:
    case = Case(heads=8, kv_heads=8, head_dim=64, q_len=512, kv_len=512, dtype="float32")
    by_key, by_mask = (
        budget_check(BY_NAME[name], case, prepare_variant(BY_NAME[name], case), "before")
        for name in ("sdpa_key", "sdpa_mask")
    )
    assert by_mask.agrees
    assert not by_key.agrees
    assert by_key.error < 1e-4
    half = Case(heads=8, kv_heads=8, head_dim=64, q_len=512, kv_len=512, dtype="bfloat16")
    assert budget_check(
        BY_NAME["sdpa_key"], half, prepare_variant(BY_NAME["sdpa_key"], half), "before"
    ).agrees


@pytest.mark.parametrize(
    ("name", "other"),
    [(one.name, other) for one in ON_CPU for other in get_args(Answers) if other != one.answers],
)
def test_no_variant_is_taken_for_one_that_answers_another_question(
    name: str, other: Answers
) -> None:
    case = Case(heads=8, kv_heads=8, head_dim=64, q_len=37, kv_len=37, dtype="bfloat16")
    inputs, attention = draw(case, 0, "before", CPU), prepare_variant(BY_NAME[name], case)
    assert check(attention, spec_of(case, CPU), inputs, answers=other, seed=0).excess > 4
