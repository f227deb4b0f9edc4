"""The folded bias is the formula's in every row, dtype and head count, up to 131072 keys.

The columns are held against slope * (j - i) by themselves, and stock SDPA on them against the
oracle; what gives up a part of a slope or a row's shift is found.
"""

from dataclasses import replace

import pytest
import torch
from msgspec import structs
from torch import Tensor

from suite.agreement.budget import BudgetCheck
from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import DTYPES, Case, Dtype, Mode
from suite.lanes import kernel_names
from suite.memory.held_tensors import storages
from variants.problem import Unsupported, alibi_slopes
from variants.sdpa import bias_columns, sdpa_folded

CPU = torch.device("cpu")
BETWEEN = alibi_slopes(8) * (1 + 2.0**-8 + 2.0**-17)
"""Slopes halfway between numbers of 8 bits, and that half between numbers of 16."""


def a_case(length: int, dtype: Dtype = "float32", mode: Mode = "forward", heads: int = 12) -> Case:
    """Return a causal case of head_dim 64."""
    return Case(
        heads=heads,
        kv_heads=heads,
        head_dim=64,
        q_len=length,
        kv_len=length,
        dtype=dtype,
        mode=mode,
    )


def budget_check(case: Case, slopes: Tensor | None = None) -> BudgetCheck:
    """Compare one call with the oracle, with the slopes of the case or with others."""
    inputs, spec = draw(case, 0, "before", CPU), spec_of(case, CPU)
    if slopes is not None:
        inputs = replace(inputs, slopes=slopes)
    return check(sdpa_folded.prepare(spec), spec, inputs, answers="alibi", seed=0)


def excess_of_columns(slopes: Tensor, length: int, scale: float, dtype: Dtype) -> float:
    """Return the worst error of scale * q' · k' in the first, middle and last row.

    It is a multiple of what a float32 product rounds, with 2^-9 * scale more for float16's end.
    What all keys of a row share may be as large as a score of q and k.
    """
    rows, position = torch.tensor([0, length // 2, length - 1]), torch.arange(length)
    own = position - min(length - 1, sdpa_folded.REACH)
    narrow = getattr(torch, dtype)
    q = bias_columns.query_columns(slopes.double()[:, None] / scale, own[rows], narrow)
    found = scale * (q.double() @ bias_columns.key_columns(own, narrow).double().T)
    exact = slopes.double()[:, None, None] * (position - rows[:, None])  # [heads, 3, length]
    at_itself = rows.expand(len(slopes), 3)[:, :, None]
    shift = (found - exact).gather(2, at_itself)
    shared = shift.abs() / (2.0**-16 * slopes.double()[:, None, None] * length + scale)
    allowed = 2.0**-24 * exact.abs() + (2.0**-9 * scale if dtype == "float16" else 0)
    missed = (found - exact - shift).abs() / allowed.scatter(2, at_itself, 1.0)
    return float(max(missed.max(), shared.max()))


def without_parts(first: int, total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have numbers that are split into `total` parts lack all but the `first` of them."""
    whole = bias_columns._parts

    def first_parts(number: Tensor, count: int) -> tuple[Tensor, ...]:
        parts = whole(number, count)
        left = first if count == total else count
        return (*parts[:left], *(torch.zeros_like(part) for part in parts[left:]))

    monkeypatch.setattr(bias_columns, "_parts", first_parts)


@pytest.mark.matrix
@pytest.mark.parametrize("scale", [64**-0.5, 80**-0.5, 1 / 128])
@pytest.mark.parametrize("heads", [1, 8, 12, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_hold_the_bias_of_the_first_the_middle_and_the_last_row(
    dtype: Dtype, heads: int, scale: float
) -> None:
    for length in (1, 2, 300, 1 << 17):
        assert excess_of_columns(alibi_slopes(heads), length, scale, dtype) <= 1


@pytest.mark.parametrize("kept", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_that_lack_a_part_of_the_slope_are_found(
    dtype: Dtype, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_parts(kept, 3, monkeypatch)
    assert excess_of_columns(BETWEEN, 1 << 16, 1 / 8, dtype) > 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_are_whole_numbers_times_a_power_of_two_that_the_dtype_holds(dtype: Dtype) -> None:
    position = torch.arange(1 << 17) - sdpa_folded.REACH
    narrow = bias_columns.key_columns(position, getattr(torch, dtype)).double()
    assert (narrow == bias_columns.key_columns(position, torch.float64)).all()
    assert (2 * narrow[:, 0] + narrow[:, 1] == position).all()


@pytest.mark.heavy
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_65536_keys_are_answered_rightly_in_every_row(dtype: Dtype) -> None:
    case = Case(heads=3, kv_heads=1, head_dim=16, q_len=1 << 16, kv_len=1 << 16, dtype=dtype)
    slopes = torch.stack([alibi_slopes(8)[0], alibi_slopes(12)[8], alibi_slopes(40)[38]])
    found = budget_check(case, slopes)
    assert found.agrees, found


@pytest.mark.matrix
@pytest.mark.parametrize("length", [512, pytest.param(1999, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("heads", [8, 12, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_head_count_is_answered_rightly(dtype: Dtype, heads: int, length: int) -> None:
    found = budget_check(a_case(length, dtype, heads=heads))
    assert found.agrees, found


@pytest.mark.heavy
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_agree_where_positions_have_two_digits(dtype: Dtype) -> None:
    found = budget_check(a_case(1500, dtype, "backward"))
    assert found.agrees, found


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_that_no_rule_made_are_answered_rightly(dtype: Dtype) -> None:
    slopes = torch.tensor([3.7, 1.0, 0.3333333, 0.1, 1e-3, 1e-6])
    found = budget_check(a_case(1024, dtype, heads=6), slopes)
    assert found.agrees, found


@pytest.mark.parametrize(("dtype", "kept"), [("float16", 1), ("float32", 1), ("float32", 2)])
def test_so_are_answers_but_in_bfloat16_whose_outputs_have_8_bits_themselves(
    dtype: Dtype, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_parts(kept, 3, monkeypatch)
    far_reaching = structs.replace(a_case(1024, dtype, heads=8), logit_scale=4.0)
    found = budget_check(far_reaching, BETWEEN)
    assert not found.agrees, found


def test_rows_that_are_not_shifted_lose_digits_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    without_parts(0, 2, monkeypatch)
    found = budget_check(a_case(1024))
    assert found.excess > 4, found


def test_a_slope_beyond_float16_is_declined() -> None:
    case = a_case(64, "float16", heads=1)
    inputs, attention = draw(case, 0, "before", CPU), sdpa_folded.prepare(spec_of(case, CPU))
    assert attention(inputs.q, inputs.k, inputs.v, torch.tensor([4000.0])).isfinite().all()
    with pytest.raises(Unsupported, match="has no number for so steep a slope; sdpa_mask takes"):
        attention(inputs.q, inputs.k, inputs.v, torch.tensor([4200.0]))


@pytest.mark.parametrize(("head_dim", "heads"), [(16, 3), (64, 3)])
def test_float32_gradients_agree_for_the_heads_that_are_taken(head_dim: int, heads: int) -> None:
    case = structs.replace(a_case(255, "float32", "backward", heads), head_dim=head_dim)
    assert budget_check(case).agrees


@pytest.mark.parametrize("head_dim", [24, 80, 128])
def test_float32_gradients_of_other_heads_which_lose_digits_are_declined(head_dim: int) -> None:
    case = structs.replace(a_case(255, "float32", "backward"), head_dim=head_dim)
    with pytest.raises(Unsupported, match="costs float32 digits; sdpa_mask and compile_blocks"):
        sdpa_folded.prepare(spec_of(case, CPU))
    half = structs.replace(case, dtype="bfloat16")
    assert budget_check(half).agrees


def test_more_keys_than_two_digits_reach_are_declined() -> None:
    with pytest.raises(Unsupported, match="reach 131072 keys; flex takes more"):
        sdpa_folded.prepare(spec_of(a_case((1 << 17) + 1), CPU))


def test_the_flash_kernel_runs_and_only_columns_are_kept() -> None:
    case = a_case(256, "bfloat16", heads=8)
    inputs, attention = draw(case, 0, "before", CPU), sdpa_folded.prepare(spec_of(case, CPU))
    arguments = (inputs.q, inputs.k, inputs.v, inputs.slopes)
    ran = kernel_names.attention_kernels(lambda: attention(*arguments))
    assert ran == ["scaled_dot_product_flash_attention_for_cpu"]
    columns, zeros, positions = 2 * 8 * (8 * 256 + 256), 2 * 8, 8 * 256
    assert sum(storages(attention, arguments).values()) == columns + zeros + positions


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("length", [1000, 8192])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_on_cuda_it_agrees_and_is_torch_s_flash_kernel(
    dtype: Dtype, length: int, mode: Mode
) -> None:
    cuda, case = torch.device("cuda"), a_case(length, dtype, mode)
    spec, inputs = spec_of(case, cuda), draw(case, 0, "before", cuda)
    attention = sdpa_folded.prepare(spec)
    found = check(attention, spec, inputs, answers="alibi", seed=0)
    assert found.agrees, found
    with torch.no_grad():
        arguments = inputs.q, inputs.k, inputs.v, inputs.slopes
        ran = kernel_names.attention_kernels(lambda: attention(*arguments), cuda)
    assert any("flash" in name or "cudnn" in name for name in ran), ran
