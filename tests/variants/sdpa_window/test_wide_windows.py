"""Blocks of many queries see their own keys and those before them, as the formula has it."""

import pytest
import torch
from torch import Tensor

from suite.agreement.inputs import spec_of
from suite.cases.case import Case
from variants.sdpa.cpu_flash import merge
from variants.sdpa_window.bias_masks import Masks, masks_of
from variants.sdpa_window.wide_windows import attend_blocks, attend_halves

SLOPES = torch.tensor([0.02, 0.01, 0.005])
BEFORE, HEIGHT, PARTS = 128, 96, 3
SHALLOW, DEEP = torch.zeros(3), torch.full((3,), 1e9)


def make_masks(depth: Tensor) -> Masks:
    """Return the masks of three heads and 1000 keys."""
    case = Case(heads=3, kv_heads=3, head_dim=32, q_len=1000, kv_len=1000, dtype="float32")
    return masks_of(spec_of(case, torch.device("cpu")), 64, 512)(SLOPES, depth)


def draw_qkv(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return q [batch, 3, rows, 32], k and v [batch, 3, BEFORE + rows, 32] of normal numbers."""
    torch.manual_seed(0)
    rows = HEIGHT * PARTS
    q = torch.randn(batch, 3, rows, 32)
    k, v = torch.randn(2, batch, 3, BEFORE + rows, 32)
    return q, k, v


def formula(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return attention in float64 where each block sees BEFORE keys before it, and itself."""
    query, key = torch.arange(q.shape[2])[:, None] + BEFORE, torch.arange(k.shape[2])
    begins = query - (query - BEFORE) % HEIGHT - BEFORE
    scores = q.double() @ k.double().mT / 32**0.5 + SLOPES[:, None, None].double() * (key - query)
    scores = scores.masked_fill((key > query) | (key < begins), -torch.inf)
    found: Tensor = scores.softmax(dim=-1) @ v.double()
    return found


@pytest.mark.parametrize("depth", [SHALLOW, DEEP], ids=["cut", "whole"])
@pytest.mark.parametrize("batch", [1, 2])
def test_every_block_sees_its_own_keys_and_those_before_them(batch: int, depth: Tensor) -> None:
    q, k, v = draw_qkv(batch)
    out = torch.full_like(q, torch.nan)
    attend_blocks(q, k, v, make_masks(depth), out, HEIGHT, 32**-0.5)
    torch.testing.assert_close(out.double(), formula(q, k, v), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [512, 333, 2])
@pytest.mark.parametrize("batch", [1, 2])
def test_halves_of_even_and_odd_lengths_are_causal_attention(batch: int, rows: int) -> None:
    torch.manual_seed(1)
    q, k, v = torch.randn(3, batch, 3, rows, 32)
    out = torch.full_like(q, torch.nan)
    attend_halves(q, k, v, make_masks(DEEP), out, 32**-0.5)
    distance = torch.arange(rows) - torch.arange(rows)[:, None]
    scores = q.double() @ k.double().mT / 32**0.5 + SLOPES[:, None, None].double() * distance
    expected = scores.masked_fill(distance > 0, -torch.inf).softmax(dim=-1) @ v.double()
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-6)


def test_weights_that_are_off_by_one_key_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def merge_off_by_one(own: Tensor, far: Tensor, log_odds: Tensor, out: Tensor) -> None:
        merge(own, far, log_odds + SLOPES, out)

    monkeypatch.setattr("variants.sdpa_window.wide_windows.merge", merge_off_by_one)
    q, k, v = draw_qkv(1)
    out = torch.empty_like(q)
    attend_blocks(q, k, v, make_masks(DEEP), out, HEIGHT, 32**-0.5)
    assert not torch.allclose(out.double(), formula(q, k, v), rtol=1e-4, atol=1e-4)
