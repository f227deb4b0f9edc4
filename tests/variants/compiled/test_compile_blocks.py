"""compile_blocks: every query in one block, against the keys that it may see and no others."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from torch import Tensor

from suite.agreement.inputs import Inputs, draw, spec_of
from suite.cases.case import Case
from suite.lanes.decoding import graphs_compiled
from tests.effort import the_first
from tests.variants.agreement import agrees_with_oracle
from tests.variants.formula import truth
from variants.compiled import compile_blocks as module
from variants.problem import alibi_slopes

CPU = torch.device("cpu")

SEVERAL = [
    Case(heads=8, kv_heads=8, head_dim=64, q_len=512, kv_len=512, dtype="float32", logit_scale=4.0),
    Case(heads=8, kv_heads=2, head_dim=64, q_len=300, kv_len=300, dtype="bfloat16"),
    Case(heads=4, kv_heads=2, head_dim=64, q_len=90, kv_len=200, dtype="float32", mode="backward"),
    Case(heads=4, kv_heads=4, head_dim=64, q_len=200, kv_len=200, dtype="float16", mode="backward"),
    Case(heads=6, kv_heads=2, head_dim=40, q_len=300, kv_len=170, dtype="float32", causal=False),
    *(
        Case(
            heads=2, kv_heads=2, head_dim=128, q_len=140, kv_len=140, dtype=dtype, logit_scale=60.0
        )
        for dtype in ("float16", "bfloat16")
    ),
    Case(heads=3, kv_heads=3, head_dim=64, q_len=517, kv_len=517, dtype="float32", batch=2),
    Case(heads=6, kv_heads=2, head_dim=80, q_len=150, kv_len=400, dtype="float32", layout="bnhd"),
]
"""More than one block, most with one that is not full; those of logit_scale 60 have products
over 65504."""

# Importing inductor uses what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


agrees = partial(agrees_with_oracle, module.prepare)


@pytest.mark.parametrize("case", the_first(7, SEVERAL), ids=lambda case: case.id)
def test_several_blocks_agree(case: Case) -> None:
    assert agrees(case)


@given(q_len=st.integers(1, 5000), height=st.integers(1, 5000))
def test_every_query_is_in_one_block_and_only_the_first_may_be_lower(
    q_len: int, height: int
) -> None:
    blocks = module._blocks(q_len, height)
    assert [row for begin, end in blocks for row in range(begin, end)] == list(range(q_len))
    assert all(end - begin == height for begin, end in blocks[1:])


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the blocks as plain torch, which takes no time to build."""
    monkeypatch.setattr(module, "compile_alone", lambda function, _: function)
    with torch.no_grad():
        yield


LONG = Case(heads=3, kv_heads=3, head_dim=16, q_len=200, kv_len=200, dtype="float32")


def outcome(slopes: Tensor, change: Callable[[Inputs], None] = lambda _: None) -> Tensor:
    """Return what is made of a long case with these slopes, after a change of the inputs."""
    inputs = draw(LONG, 0, "before", CPU)
    change(inputs)
    attention = module.prepare(spec_of(LONG, CPU))
    return attention(inputs.q, inputs.k, inputs.v, slopes)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("slope", [0.0, -0.25, 100.0])
def test_slopes_that_no_rule_makes_hide_the_future_too(slope: float) -> None:
    inputs, slopes = draw(LONG, 0, "before", CPU), torch.tensor([slope, 0.5, slope])
    wanted = truth(inputs.q, inputs.k, inputs.v, slopes)
    torch.testing.assert_close(outcome(slopes).double(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("uncompiled")
def test_what_a_later_key_holds_changes_no_bit_of_a_row() -> None:
    def poison(inputs: Inputs) -> None:
        inputs.k[:, :, 150:] = 1e30
        inputs.v[:, :, 150:] = 1e38

    slopes = alibi_slopes(3)
    assert torch.equal(outcome(slopes, poison)[:, :, :150], outcome(slopes)[:, :, :150])


@pytest.mark.usefixtures("uncompiled")
def test_a_sum_that_float16_does_not_hold_overflows_no_mean() -> None:
    spec = spec_of(structs.replace(LONG, dtype="float16", q_len=600, kv_len=600), CPU)
    q = torch.zeros(1, 3, 600, 16, dtype=torch.float16)
    v = torch.full_like(q, 300.0)
    out = module.prepare(spec)(q, q, v, torch.tensor([0.0, 0.5, 2.0**-8]))
    torch.testing.assert_close(out, v, rtol=2e-3, atol=0)


@pytest.mark.usefixtures("uncompiled")
def test_a_far_weight_is_nothing_and_not_a_subnormal_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met: list[Tensor] = []
    summed = Tensor.sum

    def note_sum(one: Tensor, *how: Any, **to: Any) -> Tensor:
        met.append(one)
        return summed(one, *how, **to)

    monkeypatch.setattr(Tensor, "sum", note_sum)
    outcome(torch.tensor([1.0, 0.5, 0.001]))
    weights = torch.cat([one.flatten() for one in met])
    assert (weights == 0).any()
    assert not ((weights > 0) & (weights < torch.finfo(torch.float32).tiny)).any()


def test_a_shape_has_one_graph_whatever_the_slopes() -> None:
    spec, inputs = spec_of(LONG, CPU), draw(LONG, 0, "before", CPU)
    attention, before = module.prepare(spec), graphs_compiled()
    with torch.no_grad():
        first, second = (
            attention(inputs.q, inputs.k, inputs.v, alibi_slopes(3) * factor) for factor in (1, 2)
        )
    assert graphs_compiled() - before == 1
    assert not torch.equal(first, second)
