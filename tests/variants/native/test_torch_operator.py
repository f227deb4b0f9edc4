"""The operator: what torch asks of one, its memory, and what it refuses."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.variants.attacks import DTYPES, HEADS, draw_qk
from tests.variants.batches.problems import numbers
from tests.variants.formula import truth
from variants.attention import alibi_attention
from variants.native import kernel_library, torch_operator
from variants.native.kernel_arguments import EVERY_KEY
from variants.problem import Unsupported, alibi_slopes


def call_operator(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor | None = None,
    scale: float = 0.2,
    *,
    before: int = EVERY_KEY,
    after: int = 0,
    sequences: Tensor | None = None,
) -> Tensor:
    slopes = alibi_slopes(q.shape[1]) if slopes is None else slopes
    call = torch_operator.operator()
    return call(q, k, v, slopes, scale, before, after, sequences, None, None, False)[0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_its_memory_does_not_depend_on_torchs_defaults(dtype: torch.dtype) -> None:
    q, k = draw_qk(300, dtype=dtype)
    wanted = call_operator(q, k, k)
    torch.set_default_dtype(torch.float16)
    try:
        assert torch.equal(call_operator(q, k, k, alibi_slopes(HEADS)), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda q: q,
    "bnhd": lambda q: q.transpose(1, 2).contiguous().transpose(1, 2),
    "columns": lambda q: q.mT.contiguous().mT,
    "expanded": lambda q: q[:, :1].expand(-1, HEADS, -1, -1),
    "overlapping": lambda q: q.as_strided((1, HEADS, 70, 32), (0, 100, 1, 1)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_operator_is_what_torch_asks_of_one(layout: str, dtype: torch.dtype) -> None:
    q, k = (LAYOUTS[layout](one) for one in draw_qk(70, dtype=dtype))
    slopes = alibi_slopes(HEADS)
    sequences = torch.tensor([[0, 3, 20, 5, 40, 20], [0, 30, 40, 0, 70, 30]])
    for some, wants in ((None, True), (sequences, False)):
        torch.library.opcheck(
            cast(Any, torch_operator.operator()),
            (q, k, k[..., :24], slopes, 0.2, EVERY_KEY, 0, some, None, None, wants),
            test_utils=("test_schema", "test_faketensor"),
        )
    tolerated = 2e-2 if dtype == torch.bfloat16 else 1e-5
    wanted = truth(q, k, k, slopes, scale=0.2)
    torch.testing.assert_close(
        call_operator(q, k, k).double(), wanted, rtol=tolerated, atol=tolerated
    )


def test_a_negative_scale_is_bounded_too() -> None:
    q, k = draw_qk(900)
    wanted = truth(q, k, k, scale=-2.0)
    found = call_operator(q, k, k, scale=-2.0)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a wide head": (
        {"q": zeros(1, 4, 8, 257), "k": zeros(1, 4, 8, 257)},
        "head_dim 257: the kernel has room for 256",
    ),
    "more causal queries than keys": (
        {"q": zeros(1, 4, 9, 16)},
        "q_len 9: causal attention takes at most 8 here",
    ),
    "narrow slopes": (
        {"slopes": torch.ones(4).half()},
        "slopes torch.float16: the kernel reads float32",
    ),
    "v shorter than k": ({"v": zeros(1, 4, 7, 16)}, "only their last may differ"),
    "kv heads that don't divide": (
        {"k": zeros(1, 3, 8, 16), "v": zeros(1, 3, 8, 16)},
        "4 heads can't share 3 kv heads evenly",
    ),
    "more kv heads": (
        {"k": zeros(1, 8, 8, 16), "v": zeros(1, 8, 8, 16)},
        "4 heads can't share 8 kv heads evenly",
    ),
    "another batch": (
        {"k": zeros(2, 4, 8, 16), "v": zeros(2, 4, 8, 16)},
        "batch or head_dim differ",
    ),
    "a smaller head of k": ({"k": zeros(1, 4, 8, 8)}, "batch or head_dim differ"),
    "short slopes": ({"slopes": torch.ones(3)}, "slopes are [3]: give [4] or [1, 4]"),
    "mixed dtypes": ({"k": zeros(1, 4, 8, 16).half()}, "k is torch.float16 and q torch.float32"),
    "whole numbers": (
        {name: zeros(1, 4, 8, 16).long() for name in ("q", "k", "v")},
        "q is torch.int64",
    ),
    "three dimensions": ({"q": zeros(4, 8, 16)}, "q is [4, 8, 16]"),
    "a reach below 0": ({"before": -1}, "reach -1, 0"),
    "a sequence past the keys": (
        {"sequences": torch.tensor([[0, 0, 8, 1, 8, 0]])},
        "sequence 0, [0, 0, 8, 1, 8, 0]: it ends past 8",
    ),
    "a sequence of another batch": (
        {"sequences": torch.tensor([[1, 0, 8, 0, 8, 0]])},
        "it ends past 1",
    ),
    "sequences of 32 bits": (
        {"sequences": torch.zeros(1, 6, dtype=torch.int32)},
        "sequences torch.int32 [1, 6]: give int64",
    ),
    "a sequence that begins past all numbers": (
        {"sequences": torch.tensor([[0, 2**63 - 1, 1, 0, 8, 0]])},
        "it ends past 8",
    ),
    "the least position": (
        {"sequences": torch.tensor([[0, 0, 8, 0, 8, -(2**63)]])},
        "the kernel counts to 16777216",
    ),
    "a position past all": (
        {"sequences": torch.tensor([[0, 0, 8, 0, 8, 1 << 30]])},
        "the kernel counts to 16777216",
    ),
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_the_kernel_would_read_out_of_bounds_is_refused(change: str) -> None:
    whole = {name: zeros(1, 4, 8, 16) for name in ("q", "k", "v")}
    with pytest.raises(ValueError, match=re.escape(REFUSED[change][1])):
        call_operator(**whole | REFUSED[change][0])


def test_sequences_see_their_own_keys_alone_and_other_rows_are_0() -> None:
    q, k = draw_qk(90)
    wanted = torch.zeros_like(q, dtype=torch.float64)
    lines = [[0, 5, 30, 20, 50, 20], [0, 40, 50, 0, 20, -30]]
    for _, first, queries, key, keys, position in lines:
        rows, own = slice(first, first + queries), slice(key, key + keys)
        distance = torch.arange(keys) - torch.arange(position, position + queries)[:, None]
        scores = 0.2 * q[:, :, rows].double() @ k[:, :, own].double().mT
        scores -= alibi_slopes(HEADS).double()[:, None, None] * distance.abs()
        wanted[:, :, rows] = scores.softmax(dim=-1) @ k[:, :, own].double()
    found = call_operator(q, k, k, after=EVERY_KEY, sequences=torch.tensor(lines))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("after", [0, 3, 100])
@pytest.mark.parametrize("before", [0, 5, 63, 64, 200, 1000])
def test_no_key_out_of_reach_is_seen(before: int, after: int) -> None:
    q, k = draw_qk(500)
    slopes = torch.full((HEADS,), 0.001)
    distance = torch.arange(500) - torch.arange(500)[:, None]
    scores = 0.2 * q.double() @ k.double().mT - 0.001 * distance.abs()
    seen = (distance <= after) & (distance >= -before)
    wanted = scores.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ k.double()
    found = call_operator(q, k, k, slopes, before=before, after=after)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_a_reach_past_all_numbers_is_every_key() -> None:
    q, k = draw_qk(90)
    assert torch.equal(call_operator(q, k, k, before=2**63 - 1), call_operator(q, k, k))
    whole = call_operator(q, k, k, after=EVERY_KEY)
    assert torch.equal(call_operator(q, k, k, before=2**63 - 1, after=2**63 - 1), whole)


def test_the_log_sum_exp_is_the_formula_s() -> None:
    q, k = draw_qk(200)
    distance = torch.arange(200) - torch.arange(200)[:, None]
    scores = 0.2 * q.double() @ k.double().mT
    scores -= alibi_slopes(HEADS).double()[:, None, None] * distance.abs()
    for after, seen in ((0, distance <= 0), (EVERY_KEY, distance <= 1000)):
        found = torch_operator.operator()(
            q, k, k, alibi_slopes(HEADS), 0.2, EVERY_KEY, after, None, None, None, True
        )[1]
        wanted = scores.masked_fill(~seen, -torch.inf).logsumexp(dim=-1)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_a_build_that_failed_is_not_tried_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    depths: list[int] = []

    def fail() -> None:
        tried.append(1)
        raise Unsupported("no such flag")

    monkeypatch.setattr(kernel_library, "load", fail)
    kernel_library._outcome.cache_clear()
    try:
        for _ in range(2):
            with pytest.raises(Unsupported, match="no such flag") as refused:
                kernel_library.library()
            depths.append(len(refused.traceback))
    finally:
        kernel_library._outcome.cache_clear()
    assert tried == [1]
    assert depths[0] == depths[1]  # no call's frames are kept


@pytest.fixture
def _no_fallback() -> Iterator[None]:
    """Let vmap refuse an operator without a rule, of which some versions of torch only warn."""
    functorch: Any = torch._C._functorch
    functorch._set_vmap_fallback_enabled(False)
    yield
    functorch._set_vmap_fallback_enabled(True)


@pytest.mark.usefixtures("_no_fallback")
def test_the_operator_and_its_backward_have_a_rule_for_vmap() -> None:
    q, k, v = (numbers(seed, 2, 1, 2, 9, 24).requires_grad_() for seed in range(3))
    call = partial(alibi_attention, variant="native_window")
    out = torch.func.vmap(call)(q, k, v)
    gradient = torch.func.grad(lambda *part: call(*part).square().sum())
    found = torch.func.vmap(gradient)(q.detach(), k.detach(), v.detach())
    (wanted,) = torch.autograd.grad(out.square().sum(), [q])
    torch.testing.assert_close(found, wanted)
