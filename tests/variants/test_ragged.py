"""Sequences of different lengths: every variant answers each as if it stood alone, or declines."""

import pytest
import torch

from suite.cases.case import FORMS, Case, Form, Mode
from suite.clocks.timer import Bench
from suite.lanes.prepared_case import PreparedCase, Subject
from tests.variants.test_variants import (
    CPU,
    FORWARD_ONLY,
    ON_CPU,
    SLOW_TO_COMPILE,
    SLOW_TO_SEARCH,
)
from variants.catalog import BY_NAME, Variant
from variants.problem import Unsupported

TO_INTERPRET = [one for one in ON_CPU if one.name not in SLOW_TO_COMPILE | SLOW_TO_SEARCH]


def a_batch(form: Form, mode: Mode = "forward", *, causal: bool = True) -> Case:
    """Return sequences that are longer and shorter than a block of flex, two of them alike."""
    lengths = (70, 150, 1, 70)
    return Case(
        heads=6,
        kv_heads=2,
        head_dim=64,
        q_len=max(lengths),
        kv_len=max(lengths),
        dtype="bfloat16",
        mode=mode,
        causal=causal,
        batch=len(lengths),
        seq_lens=lengths,
        form=form,
    )


def prepare_variant(variant: Variant, case: Case) -> PreparedCase:
    """Prepare a variant for a batch, as a lane does."""
    subject = Subject(variant.module, variant.options, answers=variant.answers)
    return PreparedCase(subject, case, 0, Bench(CPU))


def assert_agrees(variant: Variant, case: Case) -> None:
    """Say that every sequence agrees with the oracle, on two draws of inputs."""
    with torch.set_grad_enabled(case.mode == "backward"):
        ready = prepare_variant(variant, case)
        for checked in (ready.check("before", 1), ready.check("after", 2)):
            assert checked.agrees, checked


@pytest.mark.matrix
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", TO_INTERPRET, ids=lambda variant: variant.name)
def test_causal_sequences_are_answered_in_both_forms(
    variant: Variant, form: Form, mode: Mode
) -> None:
    if mode == "backward" and variant.name in FORWARD_ONLY:
        pytest.skip("it has no backward, which it says")
    assert_agrees(variant, a_batch(form, mode))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["flex", pytest.param("compile_blocks", marks=pytest.mark.heavy)])
def test_compiled_variants_answer_both_forms_too(name: str, form: Form) -> None:
    assert_agrees(BY_NAME[name], a_batch(form))


@pytest.mark.parametrize(("name", "form"), [("compile", "padded"), ("compile_dynamic", "packed")])
def test_a_variant_whose_graphs_are_the_formula_answers_one(name: str, form: Form) -> None:
    assert_agrees(BY_NAME[name], a_batch(form))


@pytest.mark.parametrize("name", ["no_bias", "rope", "eager", "sdpa_mask", "flex"])
def test_bidirectional_sequences_are_answered_packed(name: str) -> None:
    assert_agrees(BY_NAME[name], a_batch("packed", causal=False))


@pytest.mark.parametrize("variant", ON_CPU, ids=lambda variant: variant.name)
def test_padding_that_queries_would_see_is_declined(variant: Variant) -> None:
    with pytest.raises(Unsupported, match="would see the padding; give them packed"):
        prepare_variant(variant, a_batch("padded", causal=False))
