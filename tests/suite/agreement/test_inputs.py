"""Inputs are drawn from the case, the seed and the stage, and from nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor

from suite.agreement.inputs import Inputs, draw, slopes_of, spec_of
from suite.cases.case import Case
from variants.problem import alibi_slopes

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "heads": 6,
    "kv_heads": 2,
    "head_dim": 16,
    "q_len": 20,
    "kv_len": 33,
    "dtype": "float32",
    "batch": 2,
}


def inputs_of(seed: int = 0, stage: str = "before", **changes: object) -> Inputs:
    """Draw the inputs of a small case with some values changed."""
    return draw(Case(**(SMALL | changes)), seed, stage, CPU)


def tensors(inputs: Inputs) -> list[Tensor]:
    """Return all that was drawn at random."""
    drawn_ones = [inputs.q, inputs.k, inputs.v, inputs.dout]
    return [tensor.detach() for tensor in drawn_ones if tensor is not None]


def test_the_same_case_seed_and_stage_draw_the_same_numbers() -> None:
    torch.manual_seed(1)
    once = tensors(inputs_of(mode="backward"))
    torch.manual_seed(2)
    again = tensors(inputs_of(mode="backward"))
    assert len(once) == 4
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))


def test_drawing_leaves_torch_s_own_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    inputs_of()
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"stage": "after"}, {"dtype": "bfloat16"}, {"bias_max": 16.0}],
    ids=["seed", "stage", "dtype", "case"],
)
def test_another_seed_stage_or_case_draws_other_numbers(other: dict[str, Any]) -> None:
    for one, two in zip(tensors(inputs_of()), tensors(inputs_of(**other)), strict=True):
        assert (one.double() - two.double()).abs().mean() > 0.5


def test_q_k_v_and_dout_are_drawn_apart() -> None:
    flat = [tensor.flatten()[:256] for tensor in tensors(inputs_of(mode="backward"))]
    likeness = torch.corrcoef(torch.stack(flat)) - torch.eye(4)
    assert likeness.abs().max() < 0.3


def test_shapes_are_batch_heads_length_head_dim() -> None:
    inputs = inputs_of(mode="backward")
    assert inputs.dout is not None
    assert inputs.q.shape == inputs.dout.shape == (2, 6, 20, 16)
    assert inputs.k.shape == inputs.v.shape == (2, 2, 33, 16)
    assert inputs.slopes.shape == (6,)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_inputs_have_the_dtype_of_the_case_and_slopes_float32(dtype: str) -> None:
    inputs = inputs_of(dtype=dtype, mode="backward")
    assert {tensor.dtype for tensor in tensors(inputs)} == {getattr(torch, dtype)}
    assert inputs.slopes.dtype == torch.float32


def test_slopes_come_in_reverse_after_timing() -> None:
    assert torch.equal(inputs_of(stage="before").slopes, alibi_slopes(6))
    assert torch.equal(inputs_of(stage="after").slopes, alibi_slopes(6).flip(0))


def test_slopes_follow_the_case_s_rule() -> None:
    assert torch.equal(slopes_of(Case(**SMALL)), alibi_slopes(6))
    assert torch.equal(slopes_of(Case(**SMALL, bias_max=16.0)), alibi_slopes(6, 16.0))
    assert torch.equal(slopes_of(Case(**SMALL, slope_scale="1/sqrt(d)")), alibi_slopes(6) / 4)


def test_bhnd_is_contiguous_and_bnhd_a_transposed_view() -> None:
    for tensor in tensors(inputs_of(layout="bhnd", mode="backward")):
        assert tensor.is_contiguous()
    for tensor in tensors(inputs_of(layout="bnhd", mode="backward")):
        assert not tensor.is_contiguous()
        assert tensor.transpose(1, 2).is_contiguous()
    assert inputs_of(layout="bnhd").q.stride() == (20 * 6 * 16, 16, 6 * 16, 1)


def test_gradients_are_wanted_in_backward_alone() -> None:
    forward, backward = inputs_of(), inputs_of(mode="backward")
    assert forward.dout is None
    assert not any(tensor.requires_grad for tensor in (forward.q, forward.k, forward.v))
    assert all(tensor.requires_grad for tensor in (backward.q, backward.k, backward.v))
    assert all(tensor.is_leaf for tensor in (backward.q, backward.k, backward.v))
    assert backward.dout is not None
    assert not backward.dout.requires_grad
    assert not backward.slopes.requires_grad


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_numbers_are_standard_normal(dtype: str) -> None:
    for tensor in tensors(
        inputs_of(dtype=dtype, kv_heads=6, kv_len=200, q_len=200, mode="backward")
    ):
        assert abs(float(tensor.double().mean())) < 0.03
        assert abs(float(tensor.double().std()) - 1) < 0.03


def test_the_logit_scale_multiplies_q_k_and_v_and_not_dout() -> None:
    q, k, v, dout = tensors(inputs_of(logit_scale=4.0, kv_heads=6, mode="backward"))
    assert all(3.7 < float(tensor.std()) < 4.3 for tensor in (q, k, v))
    assert 0.9 < float(dout.std()) < 1.1


def test_a_spec_says_of_a_case_all_but_its_numbers() -> None:
    spec = spec_of(Case(**SMALL, mode="backward", layout="bnhd", scale="1/d"), CPU)
    assert (spec.batch, spec.heads, spec.kv_heads, spec.q_len, spec.kv_len) == (2, 6, 2, 20, 33)
    assert (spec.head_dim, spec.dtype, spec.device) == (16, torch.float32, CPU)
    assert (spec.scale, spec.causal, spec.needs_grad, spec.layout) == (1 / 16, True, True, "bnhd")
    assert not spec_of(Case(**SMALL), CPU).needs_grad
