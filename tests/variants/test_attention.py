"""alibi_attention: the public function gives the formula's answer, wherever it is called."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.variants.formula import NAMES, TOLERANCE, UNCOMPILED, assert_close, tensors, truth
from variants.attention import alibi_attention
from variants.batches.sequences import Sequences
from variants.dispatch.answer import attention_for, say_once
from variants.dispatch.call import check_call, standard_slopes
from variants.dispatch.checks.batch_arguments import Settings
from variants.problem import Unsupported, alibi_slopes

# Importing inductor uses what torch itself has deprecated.
CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_gives_the_formula_s_answer(name: str, dtype: torch.dtype) -> None:
    q, k, v = tensors(dtype=dtype)
    out = alibi_attention(q, k, v, variant=name)
    assert (out.shape, out.dtype) == (q.shape, dtype)
    assert_close(out, truth(q, k, v), dtype)


@given(
    heads=st.sampled_from([1, 2, 6, 12]),
    shared_by=st.sampled_from([1, 2]),
    kv_len=st.integers(1, 70),
    behind=st.integers(0, 40),
    head_dim=st.sampled_from([8, 24, 64]),
    batch=st.integers(1, 3),
    causal=st.booleans(),
    transposed=st.booleans(),
    scale=st.none() | st.floats(0.01, 1.0),
    name=st.sampled_from(UNCOMPILED),
)
@settings(max_examples=examples(120), deadline=None)
def test_random_problems_are_answered_rightly_or_declined(
    heads: int,
    shared_by: int,
    kv_len: int,
    behind: int,
    head_dim: int,
    batch: int,
    causal: bool,
    transposed: bool,
    scale: float | None,
    name: str,
) -> None:
    shared_by = shared_by if heads % shared_by == 0 else 1
    q_len = max(1, kv_len - behind)
    q, k, v = tensors(heads, heads // shared_by, q_len, kv_len, head_dim, batch=batch)
    if transposed:
        q, k, v = (one.transpose(1, 2).contiguous().transpose(1, 2) for one in (q, k, v))
    try:
        out = alibi_attention(q, k, v, causal=causal, scale=scale, variant=name)
    except Unsupported:
        return
    wanted = truth(q, k, v, causal=causal, scale=head_dim**-0.5 if scale is None else scale)
    assert_close(out, wanted, torch.float32)


def test_slopes_of_ones_own_take_the_place_of_the_rules() -> None:
    q, k, v = tensors()
    slopes = torch.tensor([0.5, 0.01, 0.2, 0.03])
    out = alibi_attention(q, k, v, slopes=slopes, variant="sdpa_mask")
    assert_close(out, truth(q, k, v, slopes), torch.float32)
    slopes.mul_(3.0)
    again = alibi_attention(q, k, v, slopes=slopes, variant="sdpa_mask")
    assert_close(again, truth(q, k, v, slopes), torch.float32)


def test_a_shape_that_is_new_inside_a_cuda_graph_s_capture_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    q, k, v = tensors(q_len=21, kv_len=21)
    call = check_call(q, k, v, alibi_slopes(4), Sequences(), Settings())
    spec = replace(call.spec, device=CUDA)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(Unsupported, match=r"eager would build .* call it once .* before"):
        attention_for("eager", spec)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    attention_for("eager", spec)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert attention_for("eager", spec) is not None


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["eager", "compile", "flex", "sdpa_mask_efficient"])
def test_a_cuda_graph_captures_a_call_and_replays_it_on_other_numbers(name: str) -> None:
    q, k, v = (tensor.to(CUDA, torch.bfloat16) for tensor in tensors(q_len=256, kv_len=256))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(side):
        for _ in range(3):
            alibi_attention(q, k, v, variant=name)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        out = alibi_attention(q, k, v, variant=name)
    q.copy_(torch.randn_like(q))
    graph.replay()
    torch.cuda.synchronize()
    wanted = truth(q.cpu(), k.cpu(), v.cpu())
    assert_close(out.cpu(), wanted, torch.bfloat16)


@pytest.mark.parametrize("name", UNCOMPILED)
def test_under_autocast_the_answer_is_that_to_narrower_tensors(name: str) -> None:
    q, k, v = tensors(q_len=300, kv_len=300)  # where a key row rounded like them is far off
    with torch.autocast("cpu", torch.bfloat16):
        out = alibi_attention(q, k, v, variant=name)
    q, k, v = (one.bfloat16() for one in (q, k, v))
    assert torch.equal(out, alibi_attention(q, k, v, variant=name))
    assert_close(out, truth(q, k, v), torch.bfloat16)


def test_autocast_takes_tensors_of_several_dtypes() -> None:
    q, k, v = tensors()
    with torch.autocast("cpu", torch.bfloat16):
        out = alibi_attention(q, k.bfloat16(), v.half(), variant="sdpa_mask")
    assert_close(out, truth(q, k, v), torch.bfloat16)


@pytest.mark.parametrize("name", UNCOMPILED)
def test_inference_mode_answers_rightly_and_so_does_what_comes_after_it(name: str) -> None:
    q, k, v = tensors(heads=5, q_len=131, kv_len=131)
    weight = torch.ones(32, requires_grad=True)
    with torch.inference_mode():
        assert_close(alibi_attention(q, k, v, variant=name), truth(q, k, v), torch.float32)
    out = alibi_attention(q, k, v, variant=name)
    assert_close(out, truth(q, k, v), torch.float32)
    (out * weight).sum().backward()
    assert weight.grad is not None


def test_what_inference_mode_built_serves_training_afterwards() -> None:
    q, k, v = tensors(heads=6)
    with torch.inference_mode():
        alibi_attention(q, k, v, variant="sdpa_mask")
    assert not standard_slopes(6, q.device).is_inference()
    q.requires_grad_()
    alibi_attention(q, k, v, variant="sdpa_mask").sum().backward()
    assert q.grad is not None


def test_a_variant_that_is_off_by_design_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    say_once.cache_clear()
    for length in (8, 9):
        alibi_attention(*tensors(q_len=length, kv_len=length), variant="sdpa_key")
    alibi_attention(*tensors(dtype=torch.bfloat16), variant="sdpa_key")
    (line,) = [record.message for record in caplog.records if "sdpa_key" in record.message]
    assert line == (
        "sdpa_key in float32 is off by up to 0.001: its row of biases costs scores digits"
    )


def test_a_slope_too_steep_for_a_variant_is_declined() -> None:
    steep = torch.full((4,), 1e4)
    q, k, v = tensors(dtype=torch.float16)
    with pytest.raises(Unsupported, match=r"torch.float16 has no number for so steep a slope"):
        alibi_attention(q, k, v, slopes=steep, variant="sdpa_folded")
    assert alibi_attention(q, k, v, slopes=steep).isfinite().all()


@pytest.mark.parametrize("place", range(4), ids=["q", "k", "v", "slopes"])
@pytest.mark.parametrize("q_len", [1, 40])
def test_a_tensor_that_torch_negates_lazily_is_read_with_its_sign(place: int, q_len: int) -> None:
    torch.manual_seed(1)
    q, k = torch.randn(1, 1, q_len, 16), torch.randn(1, 1, 40, 16)
    tensors = [q, k, torch.randn(1, 1, 40, 16), torch.tensor([0.5])]
    wanted = alibi_attention(*tensors[:3], slopes=tensors[3], variant="eager")
    tensors[place] = torch._neg_view(-tensors[place])
    out = alibi_attention(*tensors[:3], slopes=tensors[3], variant="native_window")
    torch.testing.assert_close(out, wanted)
