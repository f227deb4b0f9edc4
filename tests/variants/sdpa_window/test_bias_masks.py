"""Masks hold the formula's bias, rows of keys lie side by side, and what can't matter is -inf."""

import pytest
import torch
from torch import Tensor

from suite.agreement.inputs import spec_of
from suite.cases.case import Case
from variants.sdpa_window import bias_masks as masks_module
from variants.sdpa_window.bias_masks import Masks, masks_of

SLOPES = torch.tensor([0.5, 0.25])
SHALLOW, DEEP = torch.tensor([40.0, 63.0]), torch.tensor([40.0, 65.0])


def make_masks(
    kv_len: int = 512, depth: Tensor = DEEP, tall: int = 128, wide: int = 1 << 20
) -> Masks:
    """Return the masks of two heads."""
    case = Case(heads=2, kv_heads=2, head_dim=64, q_len=kv_len, kv_len=kv_len, dtype="bfloat16")
    return masks_of(spec_of(case, torch.device("cpu")), tall, wide)(SLOPES, depth)


def formula(rows: int, width: int) -> Tensor:
    """Return slope * (j - i) for the last queries and keys, -inf where j > i: [2, rows, width]."""
    distance = torch.arange(width) - torch.arange(width - rows, width)[:, None]
    return (SLOPES[:, None, None] * distance).masked_fill(distance > 0, -torch.inf)


@pytest.mark.parametrize("kept_bytes", [0, 1 << 14, 1 << 26])
@pytest.mark.parametrize(("rows", "width"), [(1, 512), (64, 64), (64, 192), (128, 512), (256, 300)])
def test_a_window_is_the_bias_of_the_last_queries_to_the_last_keys(
    rows: int, width: int, kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks_module, "_WINDOW_BYTES", kept_bytes)
    for heads in (slice(0, 2), slice(1, 2)):
        window = make_masks().for_heads(heads).relative(rows, width)
        assert torch.equal(window, formula(rows, width)[heads])
        assert window.stride(2) == 1  # a column of queries first made a call 3.6 times slower


def test_a_row_is_the_bias_of_the_last_query() -> None:
    masks = make_masks(300)
    assert torch.equal(masks.row[:, :300], formula(1, 300)[:, 0])
    assert (masks.row[:, 300:] == -torch.inf).all()


def test_a_bias_that_can_not_matter_is_left_out_where_that_is_certain_for_all_heads() -> None:
    whole, cut = (
        make_masks(depth=DEEP).relative(64, 512),
        make_masks(depth=SHALLOW).relative(64, 512),
    )
    assert torch.equal(whole, formula(64, 512))
    assert torch.equal(cut, whole.masked_fill(whole < -64, -torch.inf))
    assert torch.equal(make_masks(depth=SHALLOW).row, make_masks(depth=DEEP).row)
    assert (make_masks(depth=torch.tensor([40.0, torch.nan])).near > -torch.inf).sum() == 2 * 512


def test_rows_of_keys_end_at_the_query_or_are_centred() -> None:
    masks = make_masks(300, SHALLOW)
    distance = torch.arange(1 - 200, 1)
    assert torch.equal(masks.slopes, SLOPES)
    assert torch.equal(masks.before(100), SLOPES[:, None] * distance[-100:])
    assert masks.before(200)[0, 0] == -torch.inf
    assert torch.equal(masks.centred(200), SLOPES[:, None] * (distance - distance[100]))
    assert masks.spans(200).tolist() == [99.5, 49.75]


def test_windows_are_kept_as_far_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_masks(1 << 15).window.shape == (2, 128, 1 << 15)
    monkeypatch.setattr(masks_module, "_WINDOW_BYTES", 1 << 20)
    masks = make_masks(1 << 15)
    assert masks.window.shape == (2, 128, 1 << 10)
    assert masks.relative(128, 1 << 10).data_ptr() == masks.window.data_ptr()
    assert masks.relative(64, 2048).shape == (2, 64, 2048)
    assert make_masks(1 << 15, wide=256).window.shape == (2, 128, 256)
