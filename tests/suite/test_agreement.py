"""Wrong answers are caught, head by head and row by row; right ones raise no alarm."""

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.linalg import vector_norm

from suite.agreement import Comparison, check, compare, rows_to_check
from suite.case import Case
from suite.inputs import draw, spec_of
from variants.problem import Attention, Spec
from variants.reference import attend

CPU = torch.device("cpu")
DTYPES = ["float32", "bfloat16", "float16"]

Change = Callable[[Tensor], Tensor]
Made = Callable[[Spec, Tensor], tuple[Tensor, Tensor]]
"""(spec, slopes) -> bias, and which keys are seen; both broadcast to [heads, q_len, kv_len]."""

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Spare these many small calls the wait for a second core that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def case_of(**changes: object) -> Case:
    """Return a small causal case with some values changed."""
    values: dict[str, Any] = {
        "heads": 8,
        "kv_heads": 8,
        "head_dim": 32,
        "q_len": 128,
        "kv_len": 128,
        "dtype": "float32",
    }
    return Case(**(values | changes))


def variant(name: str, case: Case) -> Attention:
    """Prepare a variant of the catalog."""
    attention: Attention = importlib.import_module(f"variants.{name}").prepare(spec_of(case, CPU))
    return attention


def compared(attention: Attention, case: Case, seed: int = 0, stage: str = "before") -> Comparison:
    """Check an attention on one draw of a case."""
    inputs = draw(case, seed, stage, CPU)
    return check(attention, spec_of(case, CPU), inputs, biased=True, seed=seed)


def attention_with(make: Made, case: Case) -> Attention:
    """Return attention in the case's dtype with the bias and the mask that `make` makes."""
    spec = spec_of(case, CPU)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        bias, seen = make(spec, slopes)
        scores = (q @ k.mT).float() * spec.scale + bias
        weights = scores.masked_fill(~seen, -math.inf).softmax(dim=-1)
        return weights.to(v.dtype) @ v

    return attention


def attention_with_groups(make: Made, case: Case) -> Attention:
    """Return `attention_with` for fewer kv heads than heads."""
    attention = attention_with(make, case)
    groups = case.heads // case.kv_heads

    def grouped(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return attention(
            q, k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1), slopes
        )

    return grouped


def distance(spec: Spec) -> Tensor:
    """Return how far ahead of each query each key is: [q_len, kv_len]."""
    keys = torch.arange(spec.kv_len)
    return keys - keys[spec.kv_len - spec.q_len :, None]


def faithful(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Make ALiBi."""
    ahead = distance(spec)
    seen = ahead <= 0 if spec.causal else torch.ones_like(ahead, dtype=torch.bool)
    return slopes[:, None, None] * -ahead.abs(), seen


def without_bias(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Drop the bias."""
    return torch.zeros(()), faithful(spec, slopes)[1]


def with_the_sign_flipped(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Reward distance."""
    bias, seen = faithful(spec, slopes)
    return -bias, seen


def with_slopes_in_reverse(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Give the first head the last head's slope."""
    return faithful(spec, slopes.flip(0))


def with_the_paper_s_literal_slopes(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Take 2^(-8/n) for a number of heads that is no power of two."""
    return faithful(spec, 2.0 ** (-8 * torch.arange(1, spec.heads + 1) / spec.heads))


def seeing_one_future_key(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Put the causal edge one key too far."""
    return faithful(spec, slopes)[0], distance(spec) <= 1


def blind_to_its_own_key(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Put the causal edge one key too near."""
    return faithful(spec, slopes)[0], distance(spec) < 0


def one_off_in_distance(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Centre a bidirectional bias on the key before."""
    return slopes[:, None, None] * -(distance(spec) + 1).abs(), faithful(spec, slopes)[1]


def aligned_top_left(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Stand the queries at the first keys."""
    ahead = distance(spec) + (spec.kv_len - spec.q_len)
    return slopes[:, None, None] * -ahead.abs(), ahead <= 0


def by_key_alone_in_bfloat16(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Round slope * j to bfloat16."""
    bias = (slopes[:, None, None] * torch.arange(spec.kv_len)).bfloat16().float()
    return bias, faithful(spec, slopes)[1]


def with_half_a_window(spec: Spec, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Forget the further half of the keys."""
    bias, seen = faithful(spec, slopes)
    return bias, seen & (distance(spec) > -spec.kv_len // 2)


SHORTER: dict[str, object] = {"q_len": 48, "kv_len": 96}
MUTANTS: list[tuple[Made, dict[str, object]]] = [
    (without_bias, {}),
    (with_the_sign_flipped, {}),
    (with_slopes_in_reverse, {}),
    (with_the_paper_s_literal_slopes, {"heads": 12, "kv_heads": 12}),
    (seeing_one_future_key, {}),
    (blind_to_its_own_key, SHORTER),
    (one_off_in_distance, {"causal": False}),
    (aligned_top_left, SHORTER),
    (by_key_alone_in_bfloat16, {"q_len": 512, "kv_len": 512}),
    (with_half_a_window, {"q_len": 512, "kv_len": 512}),
]
each_mutant = pytest.mark.parametrize(
    ("mutant", "changes"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS]
)


@each_dtype
@each_mutant
def test_a_planted_mistake_is_caught_by_at_least_four_budgets(
    mutant: Made, changes: dict[str, object], dtype: str
) -> None:
    case = case_of(dtype=dtype, **changes)
    found = compared(attention_with(mutant, case), case)
    assert not found.agrees
    assert 4 <= found.excess < math.inf, found


@each_dtype
@each_mutant
def test_the_same_code_without_the_mistake_agrees(
    mutant: Made, changes: dict[str, object], dtype: str
) -> None:
    case = case_of(dtype=dtype, **changes)
    found = compared(attention_with(faithful, case), case)
    assert found.agrees, found


@each_dtype
@each_mutant
def test_a_planted_mistake_is_caught_in_backward_too(
    mutant: Made, changes: dict[str, object], dtype: str
) -> None:
    case = case_of(dtype=dtype, mode="backward", **changes)
    assert compared(attention_with(faithful, case), case).agrees
    assert compared(attention_with(mutant, case), case).excess >= 4


def test_half_a_window_passes_a_budget_over_the_whole_tensor_and_is_caught_by_rows() -> None:
    case = case_of(q_len=1536, kv_len=1536, dtype="bfloat16")
    inputs, right = draw(case, 0, "before", CPU), variant("eager", case)
    windowed = attention_with(with_half_a_window, case)
    q, k, v = (tensor.double() for tensor in (inputs.q, inputs.k, inputs.v))
    truth = attend(q, k, v, inputs.slopes, scale=case.scale_value, causal=True)

    def whole_error(attention: Attention) -> float:
        difference = attention(inputs.q, inputs.k, inputs.v, inputs.slopes).double() - truth
        return float(vector_norm(difference) / vector_norm(truth))

    assert whole_error(windowed) < min(2e-2, 2 * whole_error(right))
    found = compared(windowed, case)
    assert found.excess >= 4
    assert "head 7 row" in found.where


def spoiled(change: Change, case: Case) -> Attention:
    """Return right attention whose answer is then changed."""
    right = variant("eager", case)
    return lambda q, k, v, slopes: change(right(q, k, v, slopes))


def changed_at(spot: tuple[int, ...], change: Change) -> Change:
    """Return a change of one part of a tensor."""

    def changed(tensor: Tensor) -> Tensor:
        copy = tensor.clone()
        copy[spot] = change(copy[spot])
        return copy

    return changed


@each_dtype
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_element_that_is_no_number_disagrees(value: float, dtype: str) -> None:
    case = case_of(dtype=dtype, batch=2)
    spot = (1, 5, 77, 3)
    change = changed_at(spot, lambda element: torch.full_like(element, value))
    found = compared(spoiled(change, case), case)
    assert not found.agrees
    assert found.excess == math.inf
    assert found.where.startswith("out, batch 1 head 5")


@each_dtype
def test_zeros_disagree(dtype: str) -> None:
    case = case_of(dtype=dtype)
    assert compared(spoiled(torch.zeros_like, case), case).excess >= 4


@each_dtype
@pytest.mark.parametrize("row", [0, 64, 127])
def test_one_wrong_row_of_one_head_is_caught_and_named(row: int, dtype: str) -> None:
    case = case_of(dtype=dtype, batch=2)
    change = changed_at((1, 5, row), lambda values: values * 1.5)
    found = compared(spoiled(change, case), case)
    assert found.excess >= 4
    assert found.where == f"out, batch 1 head 5 row {row}"


def test_a_slight_mistake_in_every_row_is_caught_by_the_head_though_every_row_passes() -> None:
    case = case_of(head_dim=64)
    found = compared(spoiled(lambda out: out * (1 + 1e-6), case), case)
    assert not found.agrees
    assert "row" not in found.where


@each_dtype
def test_swapped_heads_are_caught(dtype: str) -> None:
    case = case_of(dtype=dtype)
    assert compared(spoiled(lambda out: out.roll(1, dims=1), case), case).excess >= 4


@pytest.mark.parametrize(
    "change",
    [
        lambda out: out[..., :16],
        lambda out: out[:, :4],
        lambda out: out.double(),
    ],
    ids=["half the channels", "half the heads", "another dtype"],
)
def test_another_shape_or_dtype_disagrees(change: Change) -> None:
    case = case_of()
    assert not compared(spoiled(change, case), case).agrees


@pytest.mark.parametrize(
    "change",
    [lambda out: out[:, :, :100], lambda out: torch.cat([out, out], dim=2)],
    ids=["fewer rows", "more rows"],
)
def test_another_number_of_rows_disagrees(change: Change) -> None:
    case = case_of()
    assert not compared(spoiled(change, case), case).agrees


def test_a_wrong_row_of_a_long_case_is_named_by_its_place_among_the_queries() -> None:
    case = case_of(q_len=700, kv_len=700, heads=2, kv_heads=2)
    change = changed_at((0, 1, 699), lambda values: values * 1.5)
    found = compared(spoiled(change, case), case)
    assert not found.agrees
    assert found.where == "out, batch 0 head 1 row 699"


def with_gradients(changes: dict[str, Change], case: Case) -> Attention:
    """Return right attention whose gradients of q, k and v are then changed."""
    right = variant("eager", case)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        views = {"dq": q.view_as(q), "dk": k.view_as(k), "dv": v.view_as(v)}
        for name, change in changes.items():
            views[name].register_hook(change)  # type: ignore[no-untyped-call]
        return right(views["dq"], views["dk"], views["dv"], slopes)

    return attention


GRADIENT_MUTANTS: dict[str, tuple[str, str, Change]] = {
    "dq without the scale": ("dq", "dq, batch", lambda gradient: gradient * 32**0.5),
    "dq with the wrong sign": ("dq", "dq, batch", torch.neg),
    "dq zero in one row": ("dq", "dq, batch 1 head 2", changed_at((1, 2, 40), torch.zeros_like)),
    "dk zero in one head": ("dk", "dk, batch 0 head 3", changed_at((0, 3), torch.zeros_like)),
    "dk of another head": ("dk", "dk, batch", lambda gradient: gradient.roll(1, dims=1)),
    "dk not a number": (
        "dk",
        "dk, batch 1 head 1",
        changed_at((1, 1, 5, 5), lambda element: element * math.nan),
    ),
    "dv doubled in one row": (
        "dv",
        "dv, batch 0 head 6 row 17",
        changed_at((0, 6, 17), lambda values: values * 2),
    ),
    "dv doubled in the last row": (
        "dv",
        "dv, batch 0 head 6 row 127",
        changed_at((0, 6, 127), lambda values: values * 2),
    ),
}


@each_dtype
@pytest.mark.parametrize("name", GRADIENT_MUTANTS)
def test_a_wrong_gradient_is_caught_and_named(name: str, dtype: str) -> None:
    case = case_of(dtype=dtype, mode="backward", batch=2)
    of, where, change = GRADIENT_MUTANTS[name]
    found = compared(with_gradients({of: change}, case), case)
    assert not found.agrees
    assert found.excess >= 4
    assert found.where.startswith(where)


@each_dtype
def test_gradients_left_as_they_are_agree(dtype: str) -> None:
    case = case_of(dtype=dtype, mode="backward", batch=2)
    assert compared(
        with_gradients(dict.fromkeys(["dq", "dk", "dv"], torch.clone), case), case
    ).agrees


@each_dtype
def test_gradients_summed_over_the_wrong_group_are_caught(dtype: str) -> None:
    case = case_of(dtype=dtype, mode="backward", kv_heads=2)
    assert compared(variant("sdpa_mask", case), case).agrees

    def interleaved(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return variant("eager", case_of(dtype=dtype))(
            q, k.repeat(1, 4, 1, 1), v.repeat(1, 4, 1, 1), slopes
        )

    assert compared(interleaved, case).excess >= 4


@each_dtype
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", ["eager", "sdpa_mask"])
def test_right_answers_raise_no_alarm_in_any_of_ten_draws(name: str, mode: str, dtype: str) -> None:
    for changes in (
        {"heads": 12, "kv_heads": 4, "q_len": 97, "kv_len": 97},
        {"q_len": 24, "kv_len": 80, "layout": "bnhd"},
        {"q_len": 64, "kv_len": 64, "causal": False},
    ):
        case = case_of(dtype=dtype, mode=mode, **changes)
        attention = variant(name, case)
        for seed in range(10):
            found = compared(attention, case, seed)
            assert found.agrees, (changes, seed, found)


def test_a_single_token_raises_no_alarm_in_backward() -> None:
    case = case_of(heads=2, kv_heads=2, head_dim=16, q_len=1, kv_len=1, mode="backward")
    attention = variant("sdpa_mask", case)
    assert all(compared(attention, case, seed).agrees for seed in range(100))


def test_the_formula_itself_uses_half_of_its_budget_for_the_output() -> None:
    case = case_of()
    assert compared(variant("eager", case), case).excess == pytest.approx(0.5, abs=0.1)


def test_a_truth_from_elsewhere_is_compared_with_in_the_same_way() -> None:
    case = case_of()
    inputs, spec = draw(case, 0, "before", CPU), spec_of(case, CPU)
    attention = variant("sdpa_mask", case)
    found = check(attention, spec, inputs, biased=True, seed=0)
    truth, yardstick = (
        attend(
            inputs.q.to(dtype),
            inputs.k.to(dtype),
            inputs.v.to(dtype),
            inputs.slopes,
            scale=spec.scale,
            causal=True,
        )
        for dtype in (torch.float64, torch.float32)
    )
    answer = attention(inputs.q, inputs.k, inputs.v, inputs.slopes)
    assert compare(answer, truth, yardstick) == found


def test_bias_free_attention_is_held_to_its_own_oracle() -> None:
    case = case_of(dtype="bfloat16")
    inputs, spec, attention = (
        draw(case, 0, "before", CPU),
        spec_of(case, CPU),
        variant("eager", case),
    )
    stock = variant("no_bias", case)
    assert check(stock, spec, inputs, biased=False, seed=0).agrees
    assert check(attention, spec, inputs, biased=False, seed=0).excess >= 4


def kept(attention: Attention) -> Attention:
    """Return attention that answers for ever what it answered first."""
    answers: list[Tensor] = []

    def answer(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        if not answers:
            answers.append(attention(q, k, v, slopes))
        return answers[0]

    return answer


@each_dtype
def test_a_kept_answer_passes_before_timing_and_is_caught_after_it(dtype: str) -> None:
    case = case_of(dtype=dtype)
    attention = kept(variant("eager", case))
    assert compared(attention, case, stage="before").agrees
    assert compared(attention, case, stage="before").agrees
    assert compared(attention, case, stage="after").excess >= 4
    assert compared(variant("eager", case), case, stage="after").agrees


@each_dtype
def test_a_bias_kept_from_the_first_slopes_is_caught_after_timing(dtype: str) -> None:
    case = case_of(dtype=dtype)
    first, right = draw(case, 0, "before", CPU).slopes, variant("eager", case)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return right(q, k, v, first)

    assert compared(attention, case, stage="before").agrees
    assert compared(attention, case, stage="after").excess >= 4


@pytest.mark.parametrize("q_len", [1, 37, 512])
def test_every_row_of_a_short_case_is_checked(q_len: int) -> None:
    assert rows_to_check(q_len, 0, CPU).tolist() == list(range(q_len))


@settings(deadline=None)
@given(q_len=st.integers(1, 5000), seed=st.integers(0, 2**40))
def test_checked_rows_are_sorted_unique_enough_in_number_and_always_the_same(
    q_len: int, seed: int
) -> None:
    rows = rows_to_check(q_len, seed, CPU).tolist()
    assert rows == sorted(set(rows))
    assert len(rows) >= min(q_len, 256)
    assert {0, q_len - 1} <= set(rows) <= set(range(q_len))
    assert rows == rows_to_check(q_len, seed, CPU).tolist()


def test_both_sides_of_every_tile_edge_are_checked() -> None:
    rows = set(rows_to_check(700, 0, CPU).tolist())
    assert all({edge - 1, edge} <= rows for edge in range(64, 700, 64))


def test_many_tile_edges_of_a_very_long_case_are_checked() -> None:
    rows = set(rows_to_check(100_000, 0, CPU).tolist())
    edges = [edge for edge in range(64, 100_000, 64) if {edge - 1, edge} <= rows]
    assert len(edges) >= 64
    assert max(edges) - min(edges) > 50_000


def test_another_seed_checks_other_rows() -> None:
    assert rows_to_check(4000, 0, CPU).tolist() != rows_to_check(4000, 1, CPU).tolist()


@each_dtype
@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_a_long_case_is_checked_rightly_on_a_part_of_its_rows(mode: str, dtype: str) -> None:
    case = case_of(dtype=dtype, mode=mode, q_len=700, kv_len=800, heads=4, kv_heads=2)
    for name in ("eager", "sdpa_mask"):
        found = compared(variant(name, case), case)
        assert found.agrees, found
    assert compared(attention_with_groups(with_half_a_window, case), case).excess >= 4


@each_dtype
def test_a_long_case_has_its_gradients_checked_in_every_key(dtype: str) -> None:
    case = case_of(dtype=dtype, mode="backward", q_len=700, kv_len=700, heads=2, kv_heads=2)
    for key in (0, 1, 300, 650):
        change = changed_at((0, 1, key), lambda values: values * 2)
        for name in ("dk", "dv"):
            found = compared(with_gradients({name: change}, case), case)
            assert not found.agrees, (name, key, found)


def test_the_oracle_is_the_same_in_one_block_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(mode="backward", kv_heads=2, q_len=100, batch=2)
    inputs = draw(case, 0, "before", CPU)
    whole = check(variant("eager", case), spec_of(case, CPU), inputs, biased=True, seed=0)
    monkeypatch.setattr("suite.agreement.BLOCK_BYTES", 8 * 2 * 8 * 128 * 7)
    blocks = check(variant("eager", case), spec_of(case, CPU), inputs, biased=True, seed=0)
    assert whole.agrees
    assert blocks.agrees
