"""flex_window on the CPU: one graph for all data, and right for each."""

from dataclasses import replace

import pytest
import torch

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case
from tests.effort import the_first
from variants.flex import flex_window
from variants.flex.block_windows import first_blocks_of
from variants.problem import Unsupported

CPU = torch.device("cpu")

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)


def case(q_len: int, kv_len: int) -> Case:
    return Case(heads=4, kv_heads=2, head_dim=32, q_len=q_len, kv_len=kv_len, dtype="float32")


@torch.no_grad()
@pytest.mark.parametrize(("q_len", "kv_len"), the_first(1, [(333, 900), (700, 700)]))
def test_it_agrees_for_any_data_without_another_graph(q_len: int, kv_len: int) -> None:
    spec, inputs = spec_of(case(q_len, kv_len), CPU), draw(case(q_len, kv_len), 0, "before", CPU)
    attention = flex_window.prepare(spec)
    attention(inputs.q, inputs.k, inputs.v, inputs.slopes)
    with torch.compiler.set_stance("fail_on_recompile"):
        for size in (0.1, 1.0, 4.0):
            scaled = replace(inputs, q=inputs.q * size)
            assert check(attention, spec, scaled, answers="alibi", seed=0).agrees


@pytest.mark.heavy
@pytest.mark.inductor  # uncompiled, flex_attention computes every block
def test_the_oracle_sees_blocks_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "variants.flex.flex_window.first_blocks_of",
        lambda spec: lambda back: first_blocks_of(spec)(back) + 1,
    )
    spec, inputs = spec_of(case(700, 700), CPU), draw(case(700, 700), 0, "before", CPU)
    assert not check(flex_window.prepare(spec), spec, inputs, answers="alibi", seed=0).agrees


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"causal": False}, "certified for causal attention; flex"),
        ({"slopes_need_grad": True}, "give the slopes no gradient; eager, compile and sdpa_mask"),
    ],
)
def test_what_it_can_not_do_it_declines(change: dict[str, object], words: str) -> None:
    spec = spec_of(case(64, 64), CPU)
    with pytest.raises(Unsupported, match=words):
        flex_window.prepare(spec.__class__(**{**vars(spec), **change}))
