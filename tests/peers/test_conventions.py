"""Slopes and presets of this project are those of the models' own code."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import MptConfig
from transformers.models.bloom.modeling_bloom import build_alibi_tensor as bloom_bias
from transformers.models.falcon.modeling_falcon import build_alibi_tensor as falcon_bias
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor as mpt_bias

from suite.cases.models import Model, built_in
from tests.peers.models import PEERS, Peer
from tests.peers.one_dtype import OneDtype
from variants.problem import alibi_slopes

HEADS = range(1, 129)
ONE_STEP = torch.ones(1, 2, dtype=torch.int64)

PRESETS = [
    pytest.param(peer, row, id=row.name)
    for peer in PEERS
    for row in built_in().values()
    if row.name.startswith(f"{peer.name}-")
]


def slopes_of_bloom(heads: int) -> Tensor:
    slopes: Tensor = bloom_bias(ONE_STEP, heads, torch.float64)[:, 0, 1]
    return slopes


def slopes_of_mpt(heads: int, bias_max: int = 8) -> Tensor:
    slopes: Tensor = -mpt_bias(heads, 2, bias_max)[:, 0, 0]
    return slopes


def slopes_of_falcon(heads: int) -> Tensor:
    slopes: Tensor = falcon_bias(ONE_STEP, heads, torch.float64)[:, 0, 1]
    return slopes


@pytest.mark.parametrize("theirs", [slopes_of_bloom, slopes_of_mpt, slopes_of_falcon])
def test_the_slopes_of_any_head_count_are_the_models(theirs: Callable[[int], Tensor]) -> None:
    for heads in HEADS:
        with OneDtype(torch.float64):
            slopes = theirs(heads)
        assert slopes.dtype == torch.float64
        assert torch.equal(slopes.float(), alibi_slopes(heads)), heads


def test_another_bias_max_means_what_it_means_to_mpts_own_function() -> None:
    for heads in HEADS:
        with OneDtype(torch.float64):
            slopes = slopes_of_mpt(heads, bias_max=16)
        assert torch.equal(slopes.float(), alibi_slopes(heads, 16.0)), heads


def test_falcon_rounds_its_slopes_to_bfloat16() -> None:
    assert torch.equal(slopes_of_falcon(12).float(), alibi_slopes(12).bfloat16().float())


@pytest.mark.parametrize(("peer", "row"), PRESETS)
def test_a_preset_has_the_shape_that_the_models_code_makes_of_it(peer: Peer, row: Model) -> None:
    with torch.device("meta"):
        attention = peer.build(row.hidden, row.heads).get_submodule(peer.attention)
    projected = attention.get_submodule(peer.projections[0]).weight.shape[0]
    assert attention.head_dim == row.head_dim
    assert projected == (row.heads + 2 * row.kv_heads) * row.head_dim


@pytest.mark.parametrize(("peer", "row"), PRESETS)
def test_a_preset_has_the_conventions_that_its_familys_code_is_seen_to_have(
    peer: Peer, row: Model
) -> None:
    seen = built_in()[peer.preset]
    assert (row.attn, row.scale, row.slope_scale, row.bias_form) == (
        seen.attn,
        seen.scale,
        seen.slope_scale,
        seen.bias_form,
    )
    assert row.bias_max == (16 if row.name == "mpt-7b-storywriter" else 8)


def test_the_smallest_mpt_is_its_configurations_default() -> None:
    default, row = MptConfig(), built_in()["mpt-1b-redpajama-200b"]
    assert default.n_layers == row.layers
    assert default.n_heads == row.heads
    assert default.d_model == row.hidden
    assert default.max_seq_len == row.train_len
    assert default.attn_config.alibi_bias_max == row.bias_max
    assert default.attn_config.softmax_scale is None
