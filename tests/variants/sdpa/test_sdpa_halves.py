"""sdpa_halves: levels of halves add up to the formula, gradients too, at any length."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from suite.agreement.inputs import Inputs, draw, spec_of
from suite.cases.case import DTYPES, Case, Dtype, Mode
from tests.effort import the_first
from tests.variants.agreement import agrees_with_oracle
from tests.variants.same_draws import same_draws
from variants.sdpa import halving, sdpa_halves
from variants.sdpa.cpu_flash import BURIED
from variants.sdpa.halving import Biases
from variants.windows import depth_of

CPU = torch.device("cpu")

LONG = [
    Case(heads=8, kv_heads=8, head_dim=64, q_len=512, kv_len=512, dtype="float32"),
    Case(heads=8, kv_heads=8, head_dim=64, q_len=1030, kv_len=1030, dtype="float32", batch=2),
    Case(heads=6, kv_heads=2, head_dim=80, q_len=700, kv_len=700, dtype="float32", layout="bnhd"),
    Case(heads=8, kv_heads=2, head_dim=64, q_len=600, kv_len=600, dtype="bfloat16"),
    Case(heads=8, kv_heads=2, head_dim=64, q_len=600, kv_len=600, dtype="float32", mode="backward"),
    Case(
        heads=4,
        kv_heads=4,
        head_dim=64,
        q_len=1100,
        kv_len=1100,
        dtype="bfloat16",
        mode="backward",
        batch=2,
    ),
    Case(heads=8, kv_heads=8, head_dim=64, q_len=600, kv_len=600, dtype="float32", logit_scale=4.0),
]


agrees = partial(agrees_with_oracle, sdpa_halves.prepare)


@pytest.mark.parametrize("case", the_first(4, LONG), ids=lambda case: case.id)
def test_it_agrees_over_several_levels(case: Case) -> None:
    assert agrees(case)


@same_draws(25)
@given(
    length=st.integers(1, 1100),
    dtype=st.sampled_from(DTYPES),
    mode=st.sampled_from(["forward", "backward"]),
    kv_heads=st.sampled_from([1, 2, 4]),
    logit_scale=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_any_length_agrees(
    length: int, dtype: Dtype, mode: Mode, kv_heads: int, logit_scale: float
) -> None:
    case = Case(
        heads=4,
        kv_heads=kv_heads,
        head_dim=16,
        q_len=length,
        kv_len=length,
        dtype=dtype,
        mode=mode,
        logit_scale=logit_scale,
    )
    assert agrees(case)


@pytest.mark.matrix
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("planted", ["a shift", "a row", "a square", "the last"])
def test_the_oracle_sees_a_level_that_is_off_by_one_key(
    planted: str, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    biases_of = halving.biases_of

    def wrong(slopes: torch.Tensor, sizes: list[int], rest: int, *, is_cut: bool) -> Biases:
        right = biases_of(slopes, sizes, rest, is_cut=is_cut)
        return Biases(
            right.square.roll(1, 2) if planted == "a square" else right.square,
            [row.roll(1, 2) if planted == "a row" else row for row in right.rows],
            [shift + slopes * (planted == "a shift") for shift in right.shifts],
            right.last.roll(1, 2) if planted == "the last" else right.last,
        )

    monkeypatch.setattr(sdpa_halves, "biases_of", wrong)
    case = structs.replace(LONG[0], mode=mode, q_len=533, kv_len=533)
    assert not agrees(case)


def huge_norms(inputs: Inputs) -> None:
    inputs.q.mul_(40)


def a_far_key_that_wins(inputs: Inputs) -> None:
    inputs.k[:, :, 3] = inputs.q[:, :, -1] * 40


@pytest.mark.parametrize("attack", [huge_norms, a_far_key_that_wins])
def test_far_keys_are_left_out_only_where_norms_certify_it(
    attack: Callable[[Inputs], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, inputs = spec_of(LONG[0], CPU), draw(LONG[0], 0, "before", CPU)
    depth = depth_of(spec)
    assert depth(inputs.q, inputs.k, inputs.v, inputs.slopes).amax() < BURIED
    attack(inputs)
    assert depth(inputs.q, inputs.k, inputs.v, inputs.slopes).amax() > BURIED
    assert agrees(LONG[0], attack)
    monkeypatch.setattr(sdpa_halves, "BURIED", torch.inf)
    assert not agrees(LONG[0], attack)


@pytest.mark.parametrize("which", ["q", "k", "v"])
def test_numbers_that_do_not_lie_side_by_side_are_read_as_they_are(which: str) -> None:
    def spread(inputs: Inputs) -> None:
        tensor = getattr(inputs, which)
        wide = torch.zeros(*tensor.shape, 2).flatten(3)
        wide[..., ::2] = tensor
        object.__setattr__(inputs, which, wide[..., ::2])
        assert getattr(inputs, which).stride(3) == 2

    assert agrees(LONG[0], spread)


def test_a_gradient_of_a_gradient_is_refused() -> None:
    spec = spec_of(LONG[4], CPU)
    inputs = draw(LONG[4], 0, "before", CPU)
    out = sdpa_halves.prepare(spec)(inputs.q, inputs.k, inputs.v, inputs.slopes)
    (first,) = torch.autograd.grad(out.square().sum(), inputs.q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
