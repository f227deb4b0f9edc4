"""Models bring their own attention; what is asked for beside them joins it or is refused."""

from typing import Any

import pytest

from suite.cases.models import built_in
from suite.failures import BadRequest
from tests.suite.plans import plan_of


def test_models_bring_their_own_attention_lengths_and_batch() -> None:
    cases = plan_of(sweep=None, models="falcon-rw-1b,Refact-1.6B,mosaic-bert-base").cases
    by_batch = {case.batch for case in cases}
    falcon, refact, bert = (
        next(case for case in cases if (case.heads, case.kv_heads) == heads)
        for heads in ((32, 32), (32, 1), (12, 12))
    )
    assert by_batch == {1, 8}
    assert falcon.slope_scale == "1/sqrt(d)"
    assert [case.kv_len for case in cases if case.kv_heads == 1] == [1024, 2048, 4096, 8192, 16384]
    assert (refact.kv_len, refact.causal) == (1024, True)
    assert (bert.kv_len, bert.causal, bert.batch) == (128, False, 8)
    assert {case.dtype for case in cases} == {"bfloat16"}


@pytest.mark.parametrize("name", built_in())
def test_every_convention_of_a_model_is_in_each_of_its_cases(name: str) -> None:
    model, cases = built_in()[name], plan_of(sweep=None, models=name).cases
    assert [case.kv_len for case in cases] == list(model.lengths)
    for case in cases:
        shape = (case.heads, case.kv_heads, case.head_dim, case.batch, case.causal)
        causal = model.attn == "causal"
        assert shape == (model.heads, model.kv_heads, model.head_dim, model.batch, causal)
        rule = (case.bias_max, case.slope_scale, case.scale)
        assert rule == (model.bias_max, model.slope_scale, model.scale)


def test_lengths_and_batch_that_are_asked_for_go_before_the_models_own() -> None:
    cases = plan_of(sweep=None, models="mosaic-bert-base", lengths="64", batch=2).cases
    assert [(case.kv_len, case.batch) for case in cases] == [(64, 2)]


def test_models_of_the_same_attention_are_measured_once() -> None:
    both = plan_of(sweep=None, models="bloom-7b1,mpt-7b")
    assert both.cases == plan_of(sweep=None, models="mpt-7b").cases


@pytest.mark.parametrize(("option", "value"), [("sweep", "quick"), ("heads", 4), ("head_dim", 64)])
def test_what_a_model_has_of_its_own_is_refused_beside_it(option: str, value: object) -> None:
    with pytest.raises(BadRequest, match=f"{value} beside --models: a model has its own"):
        plan_of(**{"sweep": None, "models": "mpt-7b", option: value})


@pytest.mark.parametrize(
    ("model", "options", "why"),
    [
        ("mosaic-bert-base", {"modes": "decode"}, "decode: a bidirectional model has no cache"),
        ("falcon-rw-1b", {"modes": "decode", "q_len": 500}, "decode steps through 16 lengths"),
        ("falcon-rw-1b", {"q_len": 1000}, "q_len 1000 is over kv_len 512"),
    ],
)
def test_of_several_models_the_one_that_makes_no_case_is_named(
    model: str, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        plan_of(sweep=None, models=f"Refact-1.6B,{model}", **options)
    typed = [
        "--models",
        *(f"--{name.replace('_', '-')}" for name in ("q_len", "modes") if name in options),
    ]
    named, _, reason = str(refused.value).partition(f" make no case of {model}: ")
    assert named.split(" and ") == typed
    assert reason.startswith(why)
