"""alibi_attention says in words what it can't answer, and which argument is why."""

import math
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.effort import examples
from tests.variants.formula import TOLERANCE, UNCOMPILED, assert_close, tensors, truth
from variants.attention import alibi_attention
from variants.problem import Unsupported


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"q": torch.zeros(4, 8, 16)}, r"q has shape \[4, 8, 16\]: give \[batch, heads"),
        ({"k": torch.zeros(2, 4, 48, 32).half()}, "k is torch.float16 on cpu, q torch.float32"),
        ({"v": torch.zeros(2, 4, 40, 32)}, "only their head_dim may differ"),
        ({"q": torch.zeros(2, 4, 48, 16)}, "batch or head_dim differ"),
        ({"q": torch.zeros(2, 3, 48, 32)}, "3 heads can't share 4 kv heads evenly"),
        ({"q": torch.zeros(2, 4, 49, 32)}, "q_len 49 is over kv_len 48"),
        ({"q": torch.zeros(2, 4, 0, 32)}, "no dimension may be 0"),
        ({"slopes": torch.ones(3)}, r"give float32 \[4\] or \[2, 4\] on cpu"),
        ({"slopes": torch.ones(4).double()}, r"slopes are torch.float64 \[4\]"),
        ({"slopes": [0.5] * 4}, r"slopes are a list: give a tensor, torch.tensor\(slopes"),
        ({"slopes": torch.ones(4).numpy()}, "slopes are a ndarray: give a tensor"),
        ({"slopes": torch.ones(4, device="meta")}, r"on meta: give float32 \[4\] or"),
        ({"slopes": torch.tensor([1, 1, -0.5, 1])}, "slope -0.5 of head 2: give a number, 0 or"),
        ({"slopes": torch.tensor([1, math.nan, 1, 1])}, "slope nan of head 1: give a number"),
        ({"slopes": torch.tensor([1, 1, 1, math.inf])}, "slope inf of head 3: give a number"),
        ({"scale": 0.0}, "scale 0.0: give a number over 0"),
        ({"scale": -1.0}, "scale -1.0: give a number over 0"),
        ({"scale": float("nan")}, "scale nan: give a number over 0"),
        ({"scale": float("inf")}, "scale inf: give a number over 0"),
        ({"scale": torch.tensor(0.2)}, "scale is a tensor: .* multiply q by one that is learned"),
        ({"v": torch.zeros(2, 4, 48, 32, device="meta")}, "v is on meta: give the CPU or a CUDA"),
        ({"k": torch.zeros(2, 4, 48, 32).to_sparse()}, "k is nested or sparse: give a dense"),
        ({"variant": "no_bias"}, "variant 'no_bias': there are eager, sdpa_mask"),
        ({"variant": "flx"}, "variant 'flx': there are eager, sdpa_mask"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_both_sides(
    change: dict[str, Any], told: str
) -> None:
    q, k, v = tensors()
    with pytest.raises(ValueError, match=told):
        alibi_attention(
            **(cast(dict[str, Any], {"q": q, "k": k, "v": v, "variant": "eager"}) | change)
        )


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float8_e4m3fn, torch.complex64, torch.int32, torch.bool]
)
@pytest.mark.parametrize("autocast", [False, True])
def test_other_kinds_of_numbers_are_refused_under_autocast_too(
    dtype: torch.dtype, autocast: bool
) -> None:
    q, k, _ = tensors()
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
        pytest.raises(ValueError, match=r"v is .*: give float32, bfloat16 or float16"),
    ):
        alibi_attention(q, k, k.to(dtype), variant="eager")


def test_a_variant_that_declines_says_what_would_help() -> None:
    q, k, v = tensors(q_len=5)
    with pytest.raises(Unsupported, match="needs one query or q_len equal to kv_len"):
        alibi_attention(q, k, v, variant="sdpa_key")


def test_a_key_row_is_declined_where_flash_refuses_the_tensors() -> None:
    q, k, v = (one[..., ::2] for one in tensors(q_len=200, kv_len=200))
    with pytest.raises(Unsupported, match="make q, k and v contiguous"):
        alibi_attention(q, k, v, variant="sdpa_key")


@pytest.mark.parametrize("name", ["sdpa_key", "sdpa_window"])
def test_a_key_row_is_declined_where_flash_is_off(name: str) -> None:
    whole = tensors(q_len=200, kv_len=200)  # 64 or fewer need no key row in a window
    with (
        sdpa_kernel(SDPBackend.MATH),
        pytest.raises(Unsupported, match="it is off"),
    ):
        alibi_attention(*whole, variant=name)


@pytest.mark.parametrize("name", ["sdpa_halves", "sdpa_window"])
def test_numbers_that_do_not_lie_side_by_side_are_copied_where_the_kernel_would_misread_them(
    name: str,
) -> None:
    q, k, v = (one[..., ::2] for one in tensors(q_len=2200, kv_len=2200))
    right = alibi_attention(q.contiguous(), k.contiguous(), v.contiguous(), variant="sdpa_mask")
    torch.testing.assert_close(alibi_attention(q, k, v, variant=name), right, rtol=0.02, atol=0.02)


ODD_DTYPES = [*TOLERANCE, torch.float64, torch.float8_e4m3fn, torch.complex64, torch.int32]
PLACES = ["q", "k", "v", "k and v", "kv heads", "kv length", "dtype of k", "dtype", "strides"]
PLACES += ["slopes", "scale", "variant"]


@st.composite
def random_arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Draw arguments of alibi_attention of which some may be out of place."""
    places = draw(st.sets(st.sampled_from(PLACES), max_size=2))

    def pick(place: str, usual: Any, *others: Any) -> Any:
        return draw(st.sampled_from(others)) if place in places else usual

    heads, length = draw(st.integers(1, 12)), draw(st.integers(1, 70) | st.just(200))
    shape = [draw(st.integers(1, 2)), heads, length, draw(st.sampled_from([8, 17, 64]))]
    dtype = pick("dtype", draw(st.sampled_from(list(TOLERANCE))), *ODD_DTYPES)

    def change_size(place: str, sizes: list[int]) -> list[int]:
        at = draw(st.integers(0, len(sizes) - 1))
        others = (
            [*sizes[:at], size, *sizes[at + 1 :]] for size in (0, 1, sizes[at] // 2, sizes[at] + 1)
        )
        return list(pick(place, sizes, *others, sizes[1:], [1, *sizes]))

    def tensor(sizes: list[int], dtype: torch.dtype) -> Tensor:
        whole = torch.randn(*sizes[:-1], 2 * sizes[-1]).to(dtype)
        made: Tensor = pick("strides", whole[..., : sizes[-1]].contiguous(), whole[..., ::2])
        return made

    kv_heads = pick("kv heads", heads, *range(1, 13))
    kv_length = pick("kv length", length, *range(1, 71))
    keys = change_size("k and v", [shape[0], kv_heads, kv_length, shape[3]])
    own_slopes = torch.linspace(0.5, 0.01, heads)
    return {
        "q": tensor(change_size("q", shape), dtype),
        "k": tensor(change_size("k", keys), pick("dtype of k", dtype, *ODD_DTYPES)),
        "v": tensor(change_size("v", keys), dtype),
        "slopes": pick("slopes", None, own_slopes, own_slopes[None, None], own_slopes.double()),
        "causal": draw(st.booleans()),
        "scale": pick("scale", None, 0.3, 0.0, -1.0, float("nan"), float("inf")),
        "variant": pick("variant", draw(st.sampled_from(UNCOMPILED)), "no_bias", "flx"),
    }


@given(arguments=random_arguments())
@settings(max_examples=examples(600), deadline=None, derandomize=True, database=None)
def test_random_mistakes_are_refused_in_words_and_the_rest_is_answered_rightly(
    arguments: dict[str, Any],
) -> None:
    try:
        out = alibi_attention(**arguments)
    except (ValueError, Unsupported) as refusal:
        if not str(refusal):
            raise
        return
    q, slopes = arguments["q"], arguments["slopes"]
    scale = arguments["scale"] or q.shape[3] ** -0.5
    inputs = q, arguments["k"], arguments["v"], slopes
    wanted = truth(*inputs, scale=scale, causal=arguments["causal"])
    assert (out.shape, out.dtype) == (q.shape, q.dtype)
    assert_close(out, wanted, q.dtype)
