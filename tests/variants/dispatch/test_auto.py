"""auto answers with the variant that was chosen, or the next that can."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad

from suite.clocks.timer import Bench
from suite.lanes.prepared_case import PreparedCase, Subject
from tests.conftest import Folders
from tests.effort import examples
from tests.records import a_case
from tests.variants.dispatch.user_choice import LIKE, NO_COMPILER, choose, watch_calls
from tests.variants.formula import TOLERANCE, assert_close, tensors, truth
from tests.variants.selections import a_choice, of_this_machine, put
from variants.attention import alibi_attention, variant_for
from variants.problem import Unsupported

pytestmark = pytest.mark.usefixtures("folders")


@pytest.mark.parametrize("name", NO_COMPILER)
def test_what_was_chosen_does_the_work(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    choose(folders, name)
    q, k, v = tensors()
    names = watch_calls(monkeypatch)
    out = alibi_attention(q, k, v)
    assert names == [name]
    assert variant_for(q, k, v) == name
    assert torch.equal(out, alibi_attention(q, k, v, variant=name))


def test_another_length_gets_the_minimum_of_lines_between_lengths(folders: Folders) -> None:
    short = a_choice({"eager": 1.0, "sdpa_key": 4.0}, 32, **LIKE)
    long = a_choice({"eager": 64.0, "sdpa_key": 16.0}, 256, **LIKE)
    put(folders.of_user, of_this_machine(short, long))
    found = [variant_for(*tensors(q_len=n, kv_len=n)) for n in (32, 48, 80, 100, 256)]
    assert found == ["eager", "eager", "eager", "sdpa_key", "sdpa_key"]


def test_what_declines_the_problem_makes_way_for_the_next(folders: Folders) -> None:
    choose(folders, "sdpa_key", "sdpa_mask_cudnn", "sdpa_mask", "eager", q_len=20)
    q, k, v = tensors(q_len=20)
    assert variant_for(q, k, v) == "sdpa_mask"
    assert_close(alibi_attention(q, k, v), truth(q, k, v), torch.float32)


def test_what_declines_the_tensors_makes_way_for_the_next(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(folders, "sdpa_key", "sdpa_mask", "eager")
    names = watch_calls(monkeypatch)
    q, k, v = (one[..., ::2] for one in tensors(head_dim=64))
    for _ in range(2):
        assert_close(alibi_attention(q, k, v), truth(q, k, v), torch.float32)
    assert names[:2] == ["sdpa_key", "sdpa_mask"]
    assert names[-1] == "sdpa_mask"


def test_a_kernel_that_can_t_be_built_is_passed_over_by_name_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise Unsupported("the cache folder can't be written")

    monkeypatch.setattr("variants.native.kernel_library.library", refuse)
    q, k, v = tensors()
    for _ in range(2):
        assert variant_for(q, k, v) == "sdpa_window"
        assert_close(alibi_attention(q, k, v), truth(q, k, v), torch.float32)
    alibi_attention(*tensors(q_len=40, kv_len=40))
    declines = [one.getMessage() for one in caplog.records if "declines" in one.getMessage()]
    assert declines == [
        "auto passes native_window over, which declines: the cache folder can't be written"
    ]


def test_the_name_is_that_of_the_variant_that_took_the_last_call(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    choose(folders, "sdpa_key", "sdpa_mask")
    contiguous = tensors()
    strided = [one[..., ::2] for one in tensors(head_dim=64)]
    names = []
    for q, k, v in (contiguous, strided, strided, contiguous):
        alibi_attention(q, k, v)
        names.append(variant_for(q, k, v))
    assert names == ["sdpa_key", "sdpa_mask", "sdpa_mask", "sdpa_key"]
    (line,) = [one.getMessage() for one in caplog.records]
    assert line.startswith("auto passes sdpa_key over, which declines: only torch's flash kernel")


def test_a_forward_derivative_that_eager_takes_leaves_the_name_of_plain_calls(
    folders: Folders,
) -> None:
    choose(folders, "sdpa_mask", "eager")
    q, k, v = tensors()
    alibi_attention(q, k, v)
    with forward_ad.dual_level():
        alibi_attention(forward_ad.make_dual(q, torch.ones_like(q)), k, v)
    alibi_attention(q, k, v)
    assert variant_for(q, k, v) == "sdpa_mask"


def test_a_call_in_a_trace_does_not_make_the_substitute_of_plain_calls_forgotten(
    folders: Folders,
) -> None:
    choose(folders, "sdpa_key", "sdpa_mask")
    strided = [one[..., ::2] for one in tensors(head_dim=64)]
    alibi_attention(*strided)
    with forward_ad.dual_level():
        alibi_attention(*tensors())
    alibi_attention(*strided)
    assert variant_for(*strided) == "sdpa_mask"


def test_where_all_decline_every_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("variants.dispatch.auto.order", lambda _: ("sdpa_key", "sdpa_mask_cudnn"))
    with pytest.raises(Unsupported, match=r"sdpa_key: .*one query.*; sdpa_mask_cudnn: "):
        alibi_attention(*tensors(q_len=20))


@pytest.mark.parametrize("chosen", ["sdpa_key", "sdpa_window", "flex"])
def test_learned_slopes_get_their_gradient(folders: Folders, chosen: str) -> None:
    choose(folders, chosen)
    q, k, v = tensors()
    slopes = torch.full((4,), 0.1, requires_grad=True)
    (found,), (wanted,) = (
        torch.autograd.grad(out.square().sum(), slopes)
        for out in (alibi_attention(q, k, v, slopes=slopes), truth(q, k, v, slopes))
    )
    assert_close(found, wanted.double(), torch.float32)


@pytest.mark.parametrize("chosen", ["flex", "sdpa_key", None])
def test_training_gets_the_formula_s_gradients(folders: Folders, chosen: str | None) -> None:
    if chosen:
        choose(folders, chosen, mode="backward")
    leaves = [one.requires_grad_() for one in tensors()]
    found, wanted = (
        torch.autograd.grad(out.square().sum(), leaves)
        for out in (alibi_attention(*leaves), truth(*leaves))
    )
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other.double(), torch.float32)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    heads=st.sampled_from([1, 2, 6, 12]),
    kv_len=st.integers(1, 70),
    behind=st.integers(0, 40),
    causal=st.booleans(),
    dtype=st.sampled_from(list(TOLERANCE)),
)
def test_without_a_selection_the_answer_is_the_formula_s(
    heads: int, kv_len: int, behind: int, causal: bool, dtype: torch.dtype
) -> None:
    q, k, v = tensors(heads, heads, max(1, kv_len - behind), kv_len, 16, dtype)
    out = alibi_attention(q, k, v, causal=causal)
    assert (out.shape, out.dtype) == (q.shape, dtype)
    assert_close(out, truth(q, k, v, causal=causal), dtype)


@pytest.mark.parametrize("chosen", ["eager", "sdpa_mask"])
def test_a_lane_tells_whom_auto_chose(folders: Folders, chosen: str) -> None:
    shape: dict[str, Any] = {"batch": 1, "heads": 8, "kv_heads": 8, "head_dim": 64}
    choose(folders, chosen, **shape)
    subject = Subject("variants.dispatch.auto", {}, answers="alibi")
    prepared = PreparedCase(subject, a_case(48), 0, Bench(torch.device("cpu")))
    assert prepared.name_kernels().chose == chosen
