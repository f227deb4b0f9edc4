"""The operator: what torch asks of one, its memory, and what it refuses."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.variants.attacks import DTYPES, HEADS, drawn
from tests.variants.formula import truth
from variants.native import torch_operator
from variants.problem import Unsupported, alibi_slopes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_its_memory_does_not_depend_on_torchs_defaults(dtype: torch.dtype) -> None:
    q, k = drawn(300, dtype=dtype)
    wanted = torch_operator.operator()(q, k, k, alibi_slopes(HEADS), 0.2, True)
    torch.set_default_dtype(torch.float16)
    try:
        assert torch.equal(
            torch_operator.operator()(q, k, k, alibi_slopes(HEADS), 0.2, True), wanted
        )
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
    q, k = (LAYOUTS[layout](one) for one in drawn(70, dtype=dtype))
    slopes = alibi_slopes(HEADS)
    torch.library.opcheck(
        cast(Any, torch_operator.operator()),
        (q, k, k, slopes, 0.2, True),
        test_utils=("test_schema", "test_faketensor"),
    )
    wanted = truth(q, k, k, slopes, scale=0.2)
    found = torch_operator.operator()(q, k, k, slopes, 0.2, True)
    tolerated = 2e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.double(), wanted, rtol=tolerated, atol=tolerated)


def test_a_negative_scale_is_bounded_too() -> None:
    q, k = drawn(900)
    found = torch_operator.operator()(q, k, k, alibi_slopes(HEADS), -2.0, True)
    wanted = truth(q, k, k, scale=-2.0)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "slopes", "said"),
    [
        ((1, 4, 8, 257), torch.ones(4), "head_dim 257: the kernel has room for 256"),
        ((1, 4, 9, 16), torch.ones(4), "q_len 9: causal attention takes at most 8 here"),
        ((1, 4, 8, 16), torch.ones(4).half(), "slopes torch.float16: the kernel reads float32"),
    ],
)
def test_what_the_operator_can_not_take_it_refuses(
    shape: tuple[int, ...], slopes: Tensor, said: str
) -> None:
    q, k = torch.zeros(shape), torch.zeros(1, 4, 8, shape[3])
    with pytest.raises(ValueError, match=said):
        torch_operator.operator()(q, k, k, slopes, 1.0, True)


def test_a_build_that_failed_is_not_tried_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    depths: list[int] = []

    def failing() -> None:
        tried.append(1)
        raise Unsupported("no such flag")

    monkeypatch.setattr(torch_operator, "load", failing)
    torch_operator._outcome.cache_clear()
    try:
        for _ in range(2):
            with pytest.raises(Unsupported, match="no such flag") as refused:
                torch_operator.library()
            depths.append(len(refused.traceback))
    finally:
        torch_operator._outcome.cache_clear()
    assert tried == [1]
    assert depths[0] == depths[1]  # no call's frames are kept
