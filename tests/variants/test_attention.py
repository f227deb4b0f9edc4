"""alibi_attention: the public function gives the formula's answer, or says why it can't."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from variants import attention
from variants.attention import alibi_attention
from variants.catalog import on
from variants.problem import Unsupported, alibi_slopes
from variants.reference import attend

# Importing inductor uses what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

CUDA = torch.device("cuda", 0)
NAMES = [variant.name for variant in on("cpu") if variant.answers == "alibi"]
UNCOMPILED = [name for name in NAMES if name not in {"compile", "flex"}]
LEARNING = ["eager", "compile", "sdpa_mask"]
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}


def tensors(
    heads: int = 4,
    kv_heads: int | None = None,
    q_len: int = 48,
    kv_len: int = 48,
    head_dim: int = 32,
    dtype: torch.dtype = torch.float32,
    batch: int = 2,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return seeded q, k and v."""
    torch.manual_seed(heads * q_len + kv_len)
    q = torch.randn(batch, heads, q_len, head_dim).to(dtype)
    k, v = (torch.randn(batch, kv_heads or heads, kv_len, head_dim).to(dtype) for _ in range(2))
    return q, k, v


def truth(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor | None = None, **how: Any) -> Tensor:
    """Return the formula in float64."""
    slopes = alibi_slopes(q.shape[1]) if slopes is None else slopes
    how = {"scale": q.shape[3] ** -0.5, "causal": True} | how
    return attend(q.double(), k.double(), v.double(), slopes.double(), **how)


def assert_close(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    error = torch.linalg.vector_norm(found.double() - wanted) / torch.linalg.vector_norm(wanted)
    assert error < TOLERANCE[dtype]


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
@settings(max_examples=120, deadline=None)
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


@pytest.mark.parametrize("name", [*UNCOMPILED, "compile"])
def test_gradients_reach_q_k_and_v(name: str) -> None:
    q, k, v = (one.requires_grad_() for one in tensors())
    dout = torch.randn_like(q)
    found = torch.autograd.grad(alibi_attention(q, k, v, variant=name), (q, k, v), dout)
    wide = [one.detach().double().requires_grad_() for one in (q, k, v)]
    wanted = torch.autograd.grad(truth(*wide), wide, dout.double())
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other, torch.float32)


def slopes_gradient(name: str) -> tuple[Tensor, Tensor]:
    """Return a variant's gradient of learned slopes, and the formula's in float64."""
    q, k, v = tensors()
    slopes = alibi_slopes(4).requires_grad_()
    dout = torch.randn_like(q)
    out = alibi_attention(q, k, v, slopes=slopes, variant=name)
    (found,) = torch.autograd.grad(out, slopes, dout)
    wide = slopes.detach().double().requires_grad_()
    (wanted,) = torch.autograd.grad(truth(q, k, v, wide), wide, dout.double())
    return found, wanted


@pytest.mark.parametrize("name", LEARNING)
def test_learned_slopes_have_their_gradient(name: str) -> None:
    found, wanted = slopes_gradient(name)
    assert_close(found, wanted, torch.float32)


@pytest.mark.parametrize("name", ["flex", "sdpa_key", "sdpa_folded"])
def test_learned_slopes_are_refused_where_they_would_get_no_gradient(name: str) -> None:
    with pytest.raises(Unsupported, match="eager, compile and sdpa_mask do"):
        slopes_gradient(name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LEARNING])
def test_no_variant_gives_learned_slopes_a_wrong_gradient_without_a_word(name: str) -> None:
    try:
        found, wanted = slopes_gradient(name)
    except (Unsupported, RuntimeError):
        return
    assert_close(found, wanted, torch.float32)


def test_under_torch_compile_it_is_a_graph_break_and_right() -> None:
    q, k, v = tensors()

    def block(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = alibi_attention(2 * q, k, v, variant="sdpa_key")
        return out + 1

    assert_close(torch.compile(block)(q, k, v), truth(2 * q, k, v) + 1, torch.float32)
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"(?i)disable"):
        torch.compile(block, fullgraph=True)(q, k, v)


def test_a_shape_that_is_new_inside_a_cuda_graph_s_capture_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    q, k, v = tensors(q_len=21, kv_len=21)
    spec = replace(attention._spec(q, k, v, alibi_slopes(4), True, None), device=CUDA)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(Unsupported, match=r"eager would build .* call it once .* before"):
        attention._prepared("eager", spec)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    attention._prepared("eager", spec)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert attention._prepared("eager", spec) is not None


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["eager", "compile", "flex", "sdpa_mask_efficient"])
def test_a_cuda_graph_captures_a_call_and_replays_it_on_other_numbers(name: str) -> None:
    q, k, v = (tensor.to(CUDA, torch.bfloat16) for tensor in tensors(q_len=256, kv_len=256))
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
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
def test_under_autocast_the_answer_has_its_dtype(name: str) -> None:
    q, k, v = tensors()
    with torch.autocast("cpu", torch.bfloat16):
        out = alibi_attention(q, k, v, variant=name)
    assert out.dtype == torch.bfloat16
    assert_close(out, truth(q, k, v), torch.bfloat16)


def test_what_inference_mode_built_serves_training_afterwards() -> None:
    q, k, v = tensors(heads=6)
    with torch.inference_mode():
        alibi_attention(q, k, v, variant="sdpa_mask")
    q.requires_grad_()
    alibi_attention(q, k, v, variant="sdpa_mask").sum().backward()
    assert q.grad is not None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"q": torch.zeros(4, 8, 16)}, r"q has shape \[4, 8, 16\]: give \[batch, heads"),
        ({"k": torch.zeros(2, 4, 48, 32).half()}, "k is torch.float16 on cpu, q torch.float32"),
        ({"v": torch.zeros(2, 4, 40, 32)}, "give them the same shape"),
        ({"q": torch.zeros(2, 4, 48, 16)}, "batch or head_dim differ"),
        ({"q": torch.zeros(2, 3, 48, 32)}, "3 heads can't share 4 kv heads evenly"),
        ({"q": torch.zeros(2, 4, 49, 32)}, "q_len 49 is over kv_len 48"),
        ({"q": torch.zeros(2, 4, 0, 32)}, "no dimension may be 0"),
        ({"slopes": torch.ones(3)}, r"give float32 \[4\] on cpu"),
        ({"slopes": torch.ones(4).double()}, r"slopes are torch.float64 \[4\]"),
        ({"scale": 0.0}, "scale 0.0: give a number over 0"),
        ({"scale": -1.0}, "scale -1.0: give a number over 0"),
        ({"scale": float("nan")}, "scale nan: give a number over 0"),
        ({"scale": float("inf")}, "scale inf: give a number over 0"),
        ({"variant": "no_bias"}, "variant 'no_bias': there are eager, compile"),
        ({"variant": "flx"}, "variant 'flx': there are eager, compile"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_both_sides(
    change: dict[str, Any], told: str
) -> None:
    q, k, v = tensors()
    with pytest.raises(ValueError, match=told):
        alibi_attention(**{"q": q, "k": k, "v": v, "variant": "eager"} | change)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float8_e4m3fn, torch.complex64, torch.int32, torch.bool]
)
def test_other_kinds_of_numbers_are_refused(dtype: torch.dtype) -> None:
    q = torch.zeros(1, 1, 4, 8).to(dtype)
    with pytest.raises(ValueError, match="give float32, bfloat16 or float16"):
        alibi_attention(q, q, q, variant="eager")


def test_a_variant_that_declines_says_what_would_help() -> None:
    q, k, v = tensors(q_len=5)
    with pytest.raises(Unsupported, match="needs one query or q_len equal to kv_len"):
        alibi_attention(q, k, v, variant="sdpa_key")


def test_a_key_row_is_declined_where_flash_refuses_the_tensors() -> None:
    q, k, v = (one[..., ::2] for one in tensors())
    with pytest.raises(Unsupported, match="make q, k and v contiguous"):
        alibi_attention(q, k, v, variant="sdpa_key")
    with (
        sdpa_kernel(SDPBackend.MATH),
        pytest.raises(Unsupported, match="it is off or refuses"),
    ):
        alibi_attention(*tensors(), variant="sdpa_key")


ODD_DTYPES = [*TOLERANCE, torch.float64, torch.float8_e4m3fn, torch.complex64, torch.int32]
PLACES = ["q", "k", "v", "k and v", "kv heads", "kv length", "dtype of k", "dtype", "strides"]
PLACES += ["slopes", "scale", "variant"]


@st.composite
def maybe_mistaken(draw: st.DrawFn) -> dict[str, Any]:
    """Draw arguments of alibi_attention of which some may be out of place."""
    places = draw(st.sets(st.sampled_from(PLACES), max_size=2))

    def unless(place: str, usual: Any, *others: Any) -> Any:
        return draw(st.sampled_from(others)) if place in places else usual

    heads, length = draw(st.integers(1, 12)), draw(st.integers(1, 70))
    shape = [draw(st.integers(1, 2)), heads, length, draw(st.sampled_from([8, 17, 64]))]
    dtype = unless("dtype", draw(st.sampled_from(list(TOLERANCE))), *ODD_DTYPES)

    def changed(place: str, sizes: list[int]) -> list[int]:
        at = draw(st.integers(0, len(sizes) - 1))
        others = (
            [*sizes[:at], size, *sizes[at + 1 :]] for size in (0, 1, sizes[at] // 2, sizes[at] + 1)
        )
        return list(unless(place, sizes, *others, sizes[1:], [1, *sizes]))

    def tensor(sizes: list[int], dtype: torch.dtype) -> Tensor:
        whole = torch.randn(*sizes[:-1], 2 * sizes[-1]).to(dtype)
        made: Tensor = unless("strides", whole[..., : sizes[-1]].contiguous(), whole[..., ::2])
        return made

    kv_heads = unless("kv heads", heads, *range(1, 13))
    kv_length = unless("kv length", length, *range(1, 71))
    keys = changed("k and v", [shape[0], kv_heads, kv_length, shape[3]])
    own_slopes = torch.linspace(0.5, 0.01, heads)
    return {
        "q": tensor(changed("q", shape), dtype),
        "k": tensor(changed("k", keys), unless("dtype of k", dtype, *ODD_DTYPES)),
        "v": tensor(changed("v", keys), dtype),
        "slopes": unless("slopes", None, own_slopes, own_slopes[None], own_slopes.double()),
        "causal": draw(st.booleans()),
        "scale": unless("scale", None, 0.3, 0.0, -1.0, float("nan"), float("inf")),
        "variant": unless("variant", draw(st.sampled_from(UNCOMPILED)), "no_bias", "flx"),
    }


@given(given_to_it=maybe_mistaken())
@settings(max_examples=600, deadline=None, derandomize=True, database=None)
def test_random_mistakes_are_refused_in_words_and_the_rest_is_answered_rightly(
    given_to_it: dict[str, Any],
) -> None:
    try:
        out = alibi_attention(**given_to_it)
    except (ValueError, Unsupported) as refusal:
        if not str(refusal):
            raise
        return
    q, slopes = given_to_it["q"], given_to_it["slopes"]
    scale = given_to_it["scale"] or q.shape[3] ** -0.5
    tensors_of_it = q, given_to_it["k"], given_to_it["v"], slopes
    wanted = truth(*tensors_of_it, scale=scale, causal=given_to_it["causal"])
    assert (out.shape, out.dtype) == (q.shape, q.dtype)
    assert_close(out, wanted, q.dtype)
