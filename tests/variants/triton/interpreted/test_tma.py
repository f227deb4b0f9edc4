"""What TMA can load is loaded by descriptors, all else by pointers, to the same bits."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.variants.formula import assert_close, tensors, truth
from tests.variants.triton.interpreted.model import SMALL
from variants.problem import alibi_slopes
from variants.triton import chip, launch
from variants.triton.chip import (
    begins_aligned,
    has_aligned_strides,
    has_tma,
    has_wide_rows,
    is_not_empty,
    tma_can_load,
)
from variants.triton.launch import attend, loads_by_tma

ON_CUDA = torch.device("cuda")


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Note the shapes of tensors that launches make descriptors of."""
    shapes: list[torch.Size] = []

    def descriptor(tensor: Tensor, rows: int, width: int) -> Any:
        shapes.append(tensor.shape)
        return chip.descriptor(tensor, rows, width)

    monkeypatch.setattr(launch, "descriptor", descriptor)
    return shapes


def half(*sizes: int) -> Tensor:
    return torch.zeros(sizes, dtype=torch.float16)


@pytest.mark.parametrize(
    "tensor",
    [
        half(2, 3, 100, 64),
        half(1, 1, 1, 16),
        half(2, 3, 100, 80),  # columns 80 to 127 of a tile are 0 as well
        half(2, 100, 3, 64).transpose(1, 2),
        half(2, 3, 100, 3 * 64)[..., 64:128],
        torch.zeros(2, 3, 100, 20),
    ],
    ids=lambda tensor: f"{tuple(tensor.shape)} {tensor.stride()}",
)
def test_tma_can_load_rows_at_multiples_of_16_bytes(tensor: Tensor) -> None:
    assert tma_can_load(tensor)


def test_no_empty_tensor_has_a_descriptor() -> None:
    assert not is_not_empty(half(2, 3, 0, 64))
    assert not tma_can_load(half(2, 3, 0, 64))


def test_a_tensor_that_begins_between_16_bytes_has_none() -> None:
    shifted = half(2 * 3 * 8 * 64 + 4)[4:].view(2, 3, 8, 64)
    assert not begins_aligned(shifted)
    assert not tma_can_load(shifted)


@pytest.mark.parametrize(
    "tensor",
    [
        half(2, 3, 100, 20),  # rows of 40 bytes
        half(2, 3, 100, 68)[..., :64],
        half(2, 1, 100, 64).expand(2, 3, 100, 64),
        torch.as_strided(half(64), (1, 1, 1, 64), (1 << 39, 64, 64, 1)),
    ],
    ids=lambda tensor: str(tensor.stride()),
)
def test_nor_has_one_with_other_strides(tensor: Tensor) -> None:
    assert not has_aligned_strides(tensor)
    assert not tma_can_load(tensor)


@pytest.mark.parametrize(
    ("capability", "has"), [((8, 0), False), ((8, 9), False), ((9, 0), True), ((12, 0), True)]
)
def test_chips_have_tma_from_sm_90_on(
    capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch, *, has: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert has_tma(ON_CUDA) == has


def test_those_of_amd_have_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 4))
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert not has_tma(ON_CUDA)


@pytest.mark.parametrize(
    ("tensor", "has"),
    [
        (half(1, 1, 9, 64), True),
        (half(1, 1, 9, 48), True),  # in a tile of 64
        (half(1, 1, 9, 32), False),
        (torch.zeros(1, 1, 9, 32), True),
        (torch.zeros(1, 1, 9, 16), False),
    ],
    ids=lambda each: f"{each.dtype} {each.shape[3]}" if isinstance(each, Tensor) else "",
)
def test_rows_of_a_tile_are_wide_from_128_bytes_on(tensor: Tensor, *, has: bool) -> None:
    assert has_wide_rows(tensor) == has
    assert loads_by_tma(tensor, tensor, None) == has


def test_a_ragged_batch_is_loaded_by_pointers() -> None:
    k, run = half(1, 2, 100, 64), torch.tensor([[0, 0, 100, 0, 100, 0]], dtype=torch.int32)
    assert loads_by_tma(k, k, None)
    assert not loads_by_tma(k, k, run)


def test_so_is_a_call_whose_values_alone_have_no_descriptor() -> None:
    k = half(2, 2, 100, 64)
    assert not loads_by_tma(k, k[:1].expand(2, 2, 100, 64), None)


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("layout", ["bhnd", "bnhd"])
@pytest.mark.parametrize("head_dim", [64, 80])
def test_both_ways_give_equal_bits(
    head_dim: int, layout: str, described: list[torch.Size], *, causal: bool
) -> None:
    q, k, v = tensors(4, 2, 90, 203, head_dim, torch.float16)
    if layout == "bnhd":
        k, v = (part.transpose(1, 2).contiguous().transpose(1, 2) for part in (k, v))
    slopes = alibi_slopes(4)
    by_tma = attend(q, k, v, slopes, head_dim**-0.5, causal=causal, tiles=SMALL)
    assert described == [k.shape, v.shape]
    by_pointers = attend(q, k, v, slopes, head_dim**-0.5, causal=causal, tiles=SMALL, tma=False)
    assert described == [k.shape, v.shape]
    assert torch.equal(by_tma.out, by_pointers.out)
    assert torch.equal(by_tma.log_sum_exp, by_pointers.log_sum_exp)
    assert torch.equal(by_tma.visited, by_pointers.visited)


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
def test_rows_past_a_head_s_last_are_not_the_next_head_s(*, causal: bool) -> None:
    q, k, v = tensors(2, 2, 70, 70)
    k[:, 1], v[:, 1] = math.nan, math.inf
    out = attend(q, k, v, alibi_slopes(2), 32**-0.5, causal=causal, tiles=SMALL).out[:, :1]
    q, k, v = (part[:, :1] for part in (q, k, v))
    assert_close(out, truth(q, k, v, alibi_slopes(2)[:1], causal=causal), torch.float32)


def test_what_tma_can_not_load_is_answered_all_the_same(described: list[torch.Size]) -> None:
    q, k, v = tensors(2, 2, 70, 70)
    shifted = torch.empty(k.numel() + 1)[1:].view(k.shape).copy_(k)
    out = attend(q, shifted, v, alibi_slopes(2), 32**-0.5, causal=True, tiles=SMALL).out
    assert_close(out, truth(q, k, v), torch.float32)
    assert not described
