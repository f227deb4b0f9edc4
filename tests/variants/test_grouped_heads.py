"""One kv head for all query heads: no variant copies it for each of them but where it says so."""

import importlib

import pytest
import torch

from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case
from suite.memory.weigh import weigh_on_cpu
from tests.effort import the_first
from variants.catalog import BY_NAME

CPU = torch.device("cpu")
COPYING = {"eager"}
STEP = Case(heads=8, kv_heads=1, head_dim=64, q_len=1, kv_len=2048, dtype="bfloat16")
COPIES = STEP.heads * STEP.kv_len * STEP.head_dim * 2  # of k alone, in bytes
NAMES = ["eager", "sdpa_mask", "sdpa_window", "no_bias", "sdpa_key", "sdpa_folded", "flex"]


@pytest.mark.parametrize("name", the_first(3, NAMES))
def test_a_single_kv_head_is_copied_by_eager_alone(name: str) -> None:
    variant, inputs = BY_NAME[name], draw(STEP, 0, "before", CPU)
    prepare = importlib.import_module(variant.module).prepare
    attention = prepare(spec_of(STEP, CPU), **variant.options)
    arguments = inputs.q, inputs.k, inputs.v, inputs.slopes
    with torch.no_grad():
        attention(*arguments)
        peak = weigh_on_cpu(lambda: attention(*arguments), attention, arguments).peak_bytes
    assert (peak >= COPIES) == (name in COPYING), peak
