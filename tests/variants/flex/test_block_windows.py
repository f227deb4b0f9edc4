"""Blocks of flex hold every window and little more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from variants.flex.block_masks import BLOCK
from variants.flex.block_windows import first_blocks_of, windowed_mask_of
from variants.norms import BLOCK as WINDOW_BLOCK
from variants.problem import Spec


def spec_for(q_len: int, kv_len: int) -> Spec:
    return Spec(
        batch=1,
        heads=2,
        kv_heads=1,
        q_len=q_len,
        kv_len=kv_len,
        head_dim=16,
        dtype=torch.float32,
        device=torch.device("cpu"),
        scale=0.25,
        causal=True,
        needs_grad=False,
    )


def first_keys_by_row(spec: Spec, back: torch.Tensor) -> torch.Tensor:
    """Return the first key of each query's window: [heads, q_len], 0 for those in no block."""
    blocks = back.shape[2]
    begins = spec.kv_len - WINDOW_BLOCK * torch.arange(blocks, 0, -1)
    first = (begins - WINDOW_BLOCK * back[0]).clamp(min=0)
    by_row = first.repeat_interleave(WINDOW_BLOCK, dim=1)[:, -spec.q_len :]
    return torch.nn.functional.pad(by_row, (spec.q_len - by_row.shape[1], 0))


def visited_blocks(spec: Spec, back: torch.Tensor) -> torch.Tensor:
    """Return which blocks of keys flex visits for each block of queries: [heads, rows, columns]."""
    mask = windowed_mask_of(spec)(first_blocks_of(spec)(back))
    return mask.to_dense()[0] > 0


@settings(deadline=None)
@given(q_len=st.integers(1, 700), more=st.integers(0, 400), data=st.data())
def test_a_window_is_visited_whole_and_little_more(
    q_len: int, more: int, data: st.DataObject
) -> None:
    spec = spec_for(q_len, q_len + more)
    blocks = max(1, q_len // WINDOW_BLOCK)
    widths = st.lists(st.integers(0, 12), min_size=blocks, max_size=blocks)
    back = torch.tensor([[data.draw(widths), data.draw(widths)]])
    seen = visited_blocks(spec, back)
    by_row = first_keys_by_row(spec, back)
    for head in range(2):
        for row in range(seen.shape[1]):
            queries = slice(row * BLOCK, min((row + 1) * BLOCK, q_len))
            first = min(by_row[head, queries].min().item(), more + queries.start)
            last = more + queries.stop - 1
            wanted = range(int(first) // BLOCK, last // BLOCK + 1)
            assert seen[head, row].nonzero().flatten().tolist() == list(wanted)


@pytest.mark.parametrize(("q_len", "kv_len"), [(640, 640), (300, 900), (5, 500)])
def test_windows_as_wide_as_can_be_are_plain_causal_blocks(q_len: int, kv_len: int) -> None:
    spec = spec_for(q_len, kv_len)
    back = torch.full((1, 2, max(1, q_len // WINDOW_BLOCK)), 99)
    rows = torch.arange(-(-q_len // BLOCK)) * BLOCK + BLOCK - 1 + kv_len - q_len
    causal = torch.arange(-(-kv_len // BLOCK)) <= rows.clamp(max=kv_len - 1)[:, None] // BLOCK
    assert torch.equal(visited_blocks(spec, back), causal.expand(2, -1, -1))
