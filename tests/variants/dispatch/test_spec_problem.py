"""What `auto` asks about tensors: the problem as selections know it, and how to measure it."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.variants.selections import SPEC, a_problem
from variants.dispatch.auto_order import problem_of


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, {}),
        ({"batch": 3, "heads": 4, "kv_heads": 2}, {"batch": 3, "heads": 4, "kv_heads": 2}),
        ({"head_dim": 128, "scale": 128**-0.5}, {"head_dim": 128}),
        ({"dtype": torch.bfloat16}, {"dtype": "bfloat16"}),
        ({"dtype": torch.float16}, {"dtype": "float16"}),
        ({"causal": False}, {"causal": False}),
        ({"needs_grad": True}, {"mode": "backward"}),
        ({"layout": "bnhd"}, {"layout": "bnhd"}),
        ({"layout": "other"}, {}),
        ({"scale": 1 / 64}, {"scale": "1/d"}),
        ({"scale": math.nextafter(1 / 64, 1)}, {"scale": "1/d"}),
        ({"scale": 0.3}, {}),
        ({"q_len": 1}, {"q_len": 1, "mode": "decode"}),
        ({"q_len": 15}, {"q_len": 15, "mode": "decode"}),
        ({"q_len": 16}, {"q_len": 16}),
        ({"q_len": 511}, {"q_len": 511}),
        ({"q_len": 1, "kv_len": 1}, {"q_len": 1, "kv_len": 1}),
        ({"q_len": 5, "kv_len": 5}, {"q_len": 5, "kv_len": 5}),
        ({"q_len": 1, "causal": False}, {"q_len": 1, "causal": False}),
        ({"q_len": 1, "needs_grad": True}, {"q_len": 1, "mode": "backward"}),
        ({"seq_lens": (512, 7, 100), "batch": 3}, {"batch": 3}),
        (
            {"seq_lens": (30, 70, 50), "packed": True, "q_len": 150, "kv_len": 150},
            {"batch": 3, "q_len": 70, "kv_len": 70},
        ),
    ],
)
def test_a_spec_is_asked_about_as_a_problem(changes: dict[str, Any], asked: dict[str, Any]) -> None:
    assert problem_of(replace(SPEC, **changes)) == a_problem(**asked)
