"""sdpa_window: right where bands, strips and squares meet, planned from each call's own data."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import DTYPES, Case, Dtype
from suite.clocks.timer import Bench
from suite.lanes.prepared_case import PreparedCase, Subject
from tests.effort import the_first
from tests.variants.agreement import agrees_with_oracle
from tests.variants.same_draws import same_draws
from variants.problem import Spec, Unsupported
from variants.sdpa.cpu_flash import attend, attend_causally
from variants.sdpa_window import band_attention, bias_masks
from variants.sdpa_window.sdpa_window import density, prepare

CPU = torch.device("cpu")

LONG = [
    Case(heads=8, kv_heads=8, head_dim=64, q_len=1100, kv_len=1100, dtype="float32"),
    Case(heads=8, kv_heads=2, head_dim=64, q_len=1023, kv_len=1023, dtype="bfloat16", batch=2),
    Case(heads=4, kv_heads=4, head_dim=64, q_len=700, kv_len=700, dtype="float32", mode="backward"),
    Case(
        heads=6,
        kv_heads=3,
        head_dim=64,
        q_len=900,
        kv_len=900,
        dtype="bfloat16",
        mode="backward",
        batch=2,
        layout="bnhd",
    ),
    Case(heads=8, kv_heads=1, head_dim=64, q_len=1, kv_len=2000, dtype="bfloat16"),
    Case(heads=8, kv_heads=8, head_dim=64, q_len=17, kv_len=1501, dtype="float32", batch=2),
    Case(
        heads=8,
        kv_heads=8,
        head_dim=64,
        q_len=1100,
        kv_len=1100,
        dtype="bfloat16",
        logit_scale=4.0,
    ),
    Case(heads=12, kv_heads=12, head_dim=32, q_len=640, kv_len=640, dtype="float16", batch=13),
    Case(heads=8, kv_heads=8, head_dim=64, q_len=333, kv_len=1500, dtype="float32"),
    Case(heads=8, kv_heads=2, head_dim=128, q_len=1700, kv_len=1700, dtype="bfloat16", batch=2),
    Case(heads=8, kv_heads=8, head_dim=64, q_len=4000, kv_len=4000, dtype="float32"),
    Case(heads=8, kv_heads=8, head_dim=128, q_len=1000, kv_len=3000, dtype="float16"),
]


agrees = partial(agrees_with_oracle, prepare)


@pytest.mark.parametrize("case", the_first(7, LONG), ids=lambda case: case.id)
def test_it_agrees_where_heads_have_windows_of_their_own(case: Case) -> None:
    assert agrees(case)


@pytest.mark.parametrize("kept_bytes", [0, 1 << 26], ids=["made", "kept"])
@pytest.mark.parametrize("planted", ["a key too few", "a block too few", "too gentle a bias"])
def test_the_oracle_sees_a_band_that_is_wrong(
    planted: str, kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    relative = bias_masks._relative

    def wrong(row: torch.Tensor, rows: int, width: int) -> torch.Tensor:
        if planted == "too gentle a bias":
            return relative(0.9 * row, rows, width)
        mask = relative(row, rows, width).clone()
        mask[:, :, : -2 if planted == "a key too few" else -64] = -torch.inf
        return mask.masked_fill((mask == -torch.inf).all(dim=-1, keepdim=True), 0.0)

    monkeypatch.setattr(bias_masks, "_relative", wrong)
    monkeypatch.setattr(bias_masks, "_WINDOW_BYTES", kept_bytes)
    assert not agrees(LONG[0])


@same_draws(25)
@given(
    kv_len=st.integers(1, 900),
    fewer=st.sampled_from([0, 0, 1, 64, 300, 899]),
    dtype=st.sampled_from(DTYPES),
    batch=st.sampled_from([1, 3]),
    kv_heads=st.sampled_from([1, 2, 4]),
    logit_scale=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_any_length_agrees(
    kv_len: int, fewer: int, dtype: Dtype, batch: int, kv_heads: int, logit_scale: float
) -> None:
    case = Case(
        heads=4,
        kv_heads=kv_heads,
        head_dim=16,
        q_len=max(1, kv_len - fewer),
        kv_len=kv_len,
        dtype=dtype,
        batch=batch,
        logit_scale=logit_scale,
    )
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    found = check(prepare(spec), spec, inputs, answers="alibi", seed=0)
    assert found.error <= max(4 * found.budget, 1e-5 * logit_scale**2), found


def test_a_batch_is_as_wide_as_its_widest_problem() -> None:
    case = Case(heads=4, kv_heads=4, head_dim=64, q_len=700, kv_len=700, dtype="float32", batch=2)
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    inputs.q[1] *= 4
    inputs.k[1] *= 4
    assert check(prepare(spec), spec, inputs, answers="alibi", seed=0).agrees


def test_steep_heads_that_see_all_keep_their_digits() -> None:
    case = Case(heads=8, kv_heads=8, head_dim=64, q_len=512, kv_len=512, dtype="float32")
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    inputs.k[:, :, 0] *= 100  # a bound can't tell that it never wins
    assert check(prepare(spec), spec, inputs, answers="alibi", seed=0).agrees


def test_a_key_row_that_spans_much_costs_float32_no_digits() -> None:
    case = Case(heads=8, kv_heads=8, head_dim=64, q_len=2048, kv_len=2048, dtype="float32")
    spec, inputs = spec_of(case, CPU), draw(case, 1, "before", CPU)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # so that a triangle goes to a head whose bias spans 64
    try:
        found = check(prepare(spec), spec, inputs, answers="alibi", seed=1)
    finally:
        torch.set_num_threads(threads)
    assert found.error < 0.7 * found.budget, found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_little_more_is_computed_than_lies_in_the_windows(
    dtype: Dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(heads=8, kv_heads=8, head_dim=64, q_len=6000, kv_len=6000, dtype=dtype)
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    pairs = []

    def count(q: Tensor, k: Tensor, *, is_causal: bool) -> None:
        triangle = k.shape[2] * (k.shape[2] + 1) // 2
        pairs.append(q.shape[:2].numel() * (triangle if is_causal else q.shape[2] * k.shape[2]))

    def sdpa(q: Tensor, k: Tensor, v: Tensor, **how: Any) -> Tensor:
        count(q, k, is_causal=False)
        return scaled_dot_product_attention(q, k, v, **how)

    def triangles(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
        count(q, k, is_causal=True)
        return attend_causally(q, k, v, mask, scale)

    def parts(
        of: list[Tensor], mask: Tensor, scale: float, *, is_causal: bool
    ) -> tuple[Tensor, Tensor]:
        count(of[0], of[1], is_causal=is_causal)
        return attend(of, mask, scale, is_causal=is_causal)

    monkeypatch.setattr("variants.sdpa_window.band_attention.scaled_dot_product_attention", sdpa)
    monkeypatch.setattr("variants.sdpa_window.triangles.scaled_dot_product_attention", sdpa)
    monkeypatch.setattr("variants.sdpa_window.triangles.attend_causally", triangles)
    monkeypatch.setattr("variants.sdpa_window.wide_windows.attend", parts)
    prepare(spec)(inputs.q, inputs.k, inputs.v, inputs.slopes)
    causal = case.heads * case.q_len * (case.q_len + 1) // 2
    share = density(spec, inputs.q, inputs.k, inputs.v, inputs.slopes)
    assert 0.9 * share < sum(pairs) / causal < 1.35 * share


def masks_for(slope: float, spec: Spec) -> bias_masks.Masks:
    return bias_masks.masks_of(spec, 64, 64)(torch.tensor([slope]), torch.tensor([1e9]))


@pytest.mark.parametrize(
    ("dtype", "needs_grad", "back", "slope", "form"),
    [
        ("bfloat16", False, 2, 0.5, (False, 128)),
        ("bfloat16", False, 15, 0.5, (False, 256)),
        ("bfloat16", False, 16, 0.5, (True, 256)),
        ("bfloat16", False, 90, 0.5, (True, 768)),
        ("bfloat16", True, 90, 0.5, (False, 256)),
        ("float32", False, 23, 0.01, (False, 64)),
        ("float32", False, 24, 0.01, (True, 256)),
        ("float32", False, 48, 0.01, (True, 768)),
        ("float32", False, 48, 0.03, (True, 512)),
        ("float32", True, 48, 0.01, (False, 64)),
        ("float32", False, 24, 0.25, (False, 64)),
    ],
)
def test_wide_windows_go_in_blocks_where_float32_keeps_its_digits(
    *, dtype: Dtype, needs_grad: bool, back: int, slope: float, form: tuple[bool, int]
) -> None:
    case = Case(
        heads=1,
        kv_heads=1,
        head_dim=64,
        q_len=6000,
        kv_len=6000,
        dtype=dtype,
        mode="backward" if needs_grad else "forward",
    )
    spec = spec_of(case, CPU)
    assert band_attention._form(back, masks_for(slope, spec), spec) == form


def test_other_data_is_planned_anew() -> None:
    case = Case(heads=4, kv_heads=4, head_dim=64, q_len=700, kv_len=700, dtype="float32")
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    attention = prepare(spec)
    attention(inputs.q * 0.1, inputs.k * 0.1, inputs.v, inputs.slopes)
    assert check(attention, spec, inputs, answers="alibi", seed=0).agrees


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"causal": False}, "certified for causal attention; sdpa_mask"),
        ({"slopes_need_grad": True}, "give the slopes no gradient; eager, compile and sdpa_mask"),
        ({"device": torch.device("cuda")}, "on the host"),
    ],
)
def test_what_it_can_not_do_it_declines(change: dict[str, object], words: str) -> None:
    case = Case(heads=4, kv_heads=4, head_dim=64, q_len=64, kv_len=64, dtype="float32")
    spec = spec_of(case, CPU)
    with pytest.raises(Unsupported, match=words):
        prepare(spec.__class__(**{**vars(spec), **change}))


def test_a_lane_tells_how_much_was_looked_at() -> None:
    case = Case(heads=4, kv_heads=4, head_dim=64, q_len=1024, kv_len=1024, dtype="float32")
    for module, wanted in (
        ("variants.sdpa_window.sdpa_window", 0.8),
        ("variants.sdpa.sdpa_mask", None),
    ):
        subject = Subject(module, {}, answers="alibi")
        told = PreparedCase(subject, case, 0, Bench(CPU)).name_kernels()
        assert told.density == (wanted and pytest.approx(wanted, abs=0.15))
        assert told.chose is None
