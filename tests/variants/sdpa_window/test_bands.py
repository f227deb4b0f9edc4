"""Bands cover every head and block once, wide enough, and are cut where that pays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variants.sdpa_window.bands import Band, bands

WIDTHS = st.integers(1, 6).flatmap(
    lambda blocks: st.lists(
        st.lists(st.integers(0, 40), min_size=blocks, max_size=blocks), min_size=1, max_size=6
    )
)


def causal(widths: list[list[int]]) -> list[list[int]]:
    """Return widths that no block exceeds the number of blocks before it with."""
    return [[min(back, block) for block, back in enumerate(row)] for row in widths]


@given(WIDTHS)
def test_every_head_and_block_is_in_one_band_that_is_wide_enough(widths: list[list[int]]) -> None:
    met = {}
    for band in bands(widths, before=0, threads=2):
        for head in range(band.first_head, band.last_head):
            for block in range(band.first_block, band.last_block):
                assert (head, block) not in met
                met[head, block] = band.back
    needed = {(h, b): back for h, row in enumerate(widths) for b, back in enumerate(row)}
    assert met.keys() == needed.keys()
    assert all(met[place] >= needed[place] for place in needed)


@given(WIDTHS)
def test_no_band_is_wider_than_its_widest_block(widths: list[list[int]]) -> None:
    for band in bands(widths, before=0, threads=2):
        rows = widths[band.first_head : band.last_head]
        inside = [back for row in rows for back in row[band.first_block : band.last_block]]
        assert band.back == max(inside)


def test_steep_heads_are_cut_from_gentle_ones() -> None:
    widths = causal([[1] * 64] * 4 + [[60] * 64] * 4)
    assert bands(widths, before=0, threads=2) == [Band(0, 4, 0, 64, 1), Band(4, 8, 0, 64, 60)]


@pytest.mark.parametrize("length", [64, 100, 128])
def test_windows_that_widen_block_by_block_are_not_cut_into_single_ones(length: int) -> None:
    widening = [list(range(length))]  # of a gentle head, whose windows reach the first key
    found = bands(widening, before=0, threads=2)
    assert min(band.last_block - band.first_block for band in found) >= length // 8


def test_blocks_that_see_an_outlier_are_cut_from_those_that_do_not() -> None:
    widths = causal([[2] * 20 + [20] * 10 + [2] * 34] * 4)
    assert [(band.first_block, band.back) for band in bands(widths, before=0, threads=2)] == [
        (0, 2),
        (16, 20),
        (32, 2),
    ]


def test_a_difference_that_costs_less_than_a_call_is_not_cut() -> None:
    widths = causal([[3] * 16, [4] * 16])
    assert bands(widths, before=0, threads=2) == [Band(0, 2, 0, 16, 4)]


def test_fewer_queries_than_a_block_are_one_band_a_width() -> None:
    assert bands([[2], [2], [90]], before=90, threads=2) == [
        Band(0, 2, 0, 1, 2),
        Band(2, 3, 0, 1, 90),
    ]


def test_a_triangle_is_not_left_to_threads_that_can_not_share_it_evenly() -> None:
    widths = causal([[40] * 64, [63] * 64])
    assert bands(widths, before=0, threads=2) == [Band(0, 2, 0, 64, 63)]
    assert len(bands(widths, before=0, threads=1)) > 1
