"""Cases with padding, packing and windows: told to variants, poisoned, and held to the oracle."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from suite.agreement.budget import BudgetCheck, compare_parts
from suite.agreement.inputs import draw, padding_of, spec_of
from suite.agreement.judge import judge
from suite.agreement.preparation import prepare_function
from suite.agreement.subproblems import judged_calls
from suite.cases.case import Case
from tests.suite.answers import CPU, case_of
from variants.batches import cache_norms, formula
from variants.batches.sequences import Sequences
from variants.plain import eager
from variants.problem import Spec, Unsupported

TAKE_ALL = {
    "no_bias": "variants.plain.no_bias",
    "eager": "variants.plain.eager",
    "sdpa_mask": "variants.sdpa.sdpa_mask",
    "native_window": "variants.native.native_window",
    "auto": "variants.dispatch.auto",
}
LENGTHS = {"batch": 3, "seq_lens": (17, 90, 5), "q_len": 90, "kv_len": 90}
SERVER = {**LENGTHS, "q_lens": (1, 40, 5), "q_len": 40, "form": "packed"}
CASES: dict[str, dict[str, Any]] = {
    "padded left": {**LENGTHS, "padding": "left"},
    "padded right": {**LENGTHS, "padding": "right"},
    "padded left, bidirectional": {**LENGTHS, "padding": "left", "causal": False},
    "packed": {**LENGTHS, "padding": "right", "form": "packed"},
    "packed, with a window": {**LENGTHS, "form": "packed", "window": 9},
    "packed, bidirectional with a window": {
        **LENGTHS,
        "form": "packed",
        "window": 9,
        "causal": False,
    },
    "padded, with a window": {**LENGTHS, "window": 9},
    "server": {**SERVER},
    "server, bidirectional": {**SERVER, "causal": False},
    "server, with a window": {**SERVER, "window": 9},
    "window": {"window": 9, "q_len": 90, "kv_len": 90},
    "window, bidirectional": {"window": 9, "q_len": 90, "kv_len": 90, "causal": False},
    "window in a chunk": {"window": 9, "q_len": 20, "kv_len": 90},
    "windowed padding": {**LENGTHS, "padding": "left", "window": 9},
}


def small(name: str, **changes: Any) -> Case:
    return case_of(**({"heads": 2, "kv_heads": 1, "head_dim": 16} | CASES[name] | changes))


@pytest.mark.parametrize("name", TAKE_ALL)
def test_bidirectional_queries_in_a_window_decline_padding_that_they_are_not_told_of(
    name: str,
) -> None:
    case = small("padded, with a window", causal=False)
    with pytest.raises(Unsupported, match="queries would see the padding; give them packed"):
        prepare_function(TAKE_ALL[name], {}, case, CPU)(spec_of(case, CPU))


def check(module: str, case: Case, answers: Any = "alibi") -> BudgetCheck:
    """Compare a variant with the oracle in all parts of a case."""
    prepare = prepare_function(module, {}, case, CPU)
    inputs = draw(case, 0, "set 0", CPU)
    calls = judged_calls(case, prepare(spec_of(case, CPU)), prepare, inputs, CPU)
    errors = [part for call in calls for part in judge(call, answers=answers, seed=0).errors]
    return compare_parts(errors, torch.float32)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("variant", TAKE_ALL)
def test_a_variant_that_is_told_agrees(variant: str, name: str) -> None:
    answers = "no_bias" if variant == "no_bias" else "alibi"
    result = check(TAKE_ALL[variant], small(name), answers)
    assert result.agrees, result


@pytest.mark.parametrize("name", ["padded left", "packed", "window, bidirectional"])
@pytest.mark.parametrize("variant", ["eager", "sdpa_mask", "auto"])
def test_gradients_agree_too(variant: str, name: str) -> None:
    result = check(TAKE_ALL[variant], small(name, mode="backward"))
    assert result.agrees, result


@pytest.mark.parametrize("name", CASES)
def test_a_variant_for_dense_batches_declines_all_but_packed_sequences(name: str) -> None:
    case, module = small(name), "variants.sdpa.sdpa_folded"
    if name == "packed":
        assert check(module, case).agrees
        return
    if case.q_lens and not case.window:
        with pytest.raises(
            Unsupported, match="sdpa_mask take a chunk" if case.causal else "has to be causal"
        ):
            check(module, case)
        return
    with pytest.raises(Unsupported, match="eager, sdpa_mask, flex and native_window take it"):
        check(module, case)


def test_a_kernel_of_the_users_declines_by_its_files_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def prepare(spec): ...")
    with pytest.raises(Unsupported, match=r"^mine\.py takes no window"):
        check(str(file), small("window"))


NORMS: dict[str, Any] = {"mode": "decode", "norms": True, "q_len": 1, "kv_len": 1200}


def with_norms(**changes: Any) -> Case:
    return case_of(**({"heads": 2, "kv_heads": 1, "head_dim": 16} | NORMS | changes))


@pytest.mark.parametrize("changes", [{}, {"window": 100}, {"q_len": 3}], ids=str)
@pytest.mark.parametrize("variant", [*TAKE_ALL, "sdpa_folded"])
def test_a_variant_agrees_where_the_caller_keeps_norms(
    variant: str, changes: dict[str, Any]
) -> None:
    module = TAKE_ALL.get(variant, "variants.sdpa.sdpa_folded")
    if variant == "sdpa_folded" and changes:
        with pytest.raises(Unsupported):
            check(module, with_norms(**changes))
        return
    answers = "no_bias" if variant == "no_bias" else "alibi"
    result = check(module, with_norms(**changes), answers)
    assert result.error < 1e-5, result


@pytest.mark.parametrize("variant", ["native_window", "auto"])
def test_norms_that_are_too_small_are_read_and_so_disagree(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = with_norms(logit_scale=4.0)
    right = cache_norms.cache_norms
    monkeypatch.setattr(cache_norms, "cache_norms", lambda k, v: 1e-6 * right(k, v))
    assert not check(TAKE_ALL[variant], case).agrees


def test_norms_are_an_input_that_is_exchanged_and_compared() -> None:
    inputs = draw(with_norms(), 0, "set 0", CPU)
    assert inputs.norms is not None
    assert torch.equal(inputs.norms, cache_norms.cache_norms(inputs.k, inputs.v))
    assert "norms" in inputs.by_name()
    assert len(inputs.arguments) == 5


def test_padding_holds_nan_on_its_side_and_nowhere_else() -> None:
    for side, name in (("left", "padded left"), ("right", "padded right")):
        case = small(name)
        inputs, is_padding = draw(case, 0, "set 0", CPU), padding_of(case, CPU)
        for tensor in (inputs.q, inputs.k, inputs.v):
            assert torch.equal(tensor.isnan().any(dim=3).all(dim=1), is_padding)
            assert torch.equal(tensor.isnan().all(dim=3).any(dim=1), is_padding)
        assert is_padding[0, 0].item() == (side == "left")
        assert is_padding.sum(dim=1).tolist() == [73, 0, 85]


Attend = Callable[[Spec, Tensor, Tensor, Tensor, Tensor, Sequences], tuple[Tensor, Tensor]]


def attend_to_padding(
    spec: Spec, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
) -> tuple[Tensor, Tensor]:
    """Attend as if no token were padding."""
    return formula.attend(spec, q, k, v, slopes, Sequences())


def leak_padding(
    spec: Spec, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
) -> tuple[Tensor, Tensor]:
    """Hide padding, whose NaN leaks through the weights of 0."""
    k, v = k.clone(), v.clone()
    out, log_sum_exp = formula.attend(spec, q, k, v, slopes, sequences)
    return out + 0 * v.sum(dim=2, keepdim=True), log_sum_exp


def attend_as_first_tokens(
    spec: Spec, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
) -> tuple[Tensor, Tensor]:
    """Attend as if the queries of each sequence were its first tokens."""
    assert sequences.cu_seqlens is not None
    assert sequences.cu_seqlens_k is not None
    queries = sequences.cu_seqlens.diff().tolist()
    firsts = sequences.cu_seqlens_k.tolist()
    slots = [
        first + row for first, count in zip(firsts, queries, strict=False) for row in range(count)
    ]
    whole = q.new_zeros(*q.shape[:2], k.shape[2], q.shape[3]).index_copy(2, torch.tensor(slots), q)
    square = replace(spec, q_len=k.shape[2])
    packed = Sequences(cu_seqlens=sequences.cu_seqlens_k)
    out, log_sum_exp = formula.attend(square, whole, k, v, slopes, packed)
    return out[:, :, slots], log_sum_exp


def test_queries_of_a_server_that_are_placed_wrongly_are_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prepare_general(spec: Spec) -> Callable[..., Any]:
        return lambda *arguments: attend_as_first_tokens(spec, *arguments)

    monkeypatch.setattr(eager, "prepare_general", prepare_general)
    assert not check("variants.plain.eager", small("server")).agrees


@pytest.mark.parametrize("attend", [attend_to_padding, leak_padding])
def test_a_variant_that_padding_leaks_into_is_caught(
    attend: Attend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare_general(spec: Spec) -> Callable[..., Any]:
        return lambda *arguments: attend(spec, *arguments)

    monkeypatch.setattr(eager, "prepare_general", prepare_general)
    result = check("variants.plain.eager", small("padded left"))
    assert not result.agrees


def test_a_window_that_is_one_key_too_wide_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = eager.prepare_general

    def prepare_general(spec: Spec) -> Callable[..., Any]:
        before, after = spec.extras.window
        wider = Spec(**{**vars(spec), "extras": spec.extras.__class__(window=(before + 1, after))})
        return right(wider)

    monkeypatch.setattr(eager, "prepare_general", prepare_general)
    assert not check("variants.plain.eager", small("window")).agrees
