"""The rotary oracle turns as transformers' LLaMA and GPT-NeoX do, and so does the variant.

Their angles are float32 and so differ by some 1e-5 at 300 tokens.
"""

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.llama import modeling_llama

from suite.agreement.oracle.formula import rotate
from tests.suite.answers import case_of, variant

LENGTH, HEADS, HEAD_DIM = 300, 4, 64
APPLIED = [modeling_llama.apply_rotary_pos_emb, modeling_gpt_neox.apply_rotary_pos_emb]


def apply_rotary(apply: object, q: Tensor, k: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return q and k as a model turns them that has cos and sin in `dtype`."""
    config = LlamaConfig(hidden_size=HEADS * HEAD_DIM, num_attention_heads=HEADS)
    positions = torch.arange(LENGTH)[None]
    cos, sin = modeling_llama.LlamaRotaryEmbedding(config)(q.to(dtype), positions)
    turned: tuple[Tensor, Tensor] = apply(q.to(dtype), k.to(dtype), cos, sin)  # type: ignore[operator]
    return turned


@pytest.mark.parametrize("apply", APPLIED, ids=lambda apply: apply.__module__)
def test_the_oracle_turns_as_a_model_does(apply: object) -> None:
    q, k = torch.randn(2, 1, HEADS, LENGTH, HEAD_DIM).double()
    theirs = apply_rotary(apply, q, k, torch.float64)
    for rows, their in zip((q, k), theirs, strict=True):
        assert (rotate(rows, torch.arange(LENGTH)) - their).abs().max() < 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_variant_answers_what_a_model_s_turned_rows_give(dtype: str) -> None:
    case = case_of(
        heads=HEADS, kv_heads=HEADS, head_dim=HEAD_DIM, q_len=LENGTH, kv_len=LENGTH, dtype=dtype
    )
    narrow = getattr(torch, dtype)
    q, k, v = torch.randn(3, 1, HEADS, LENGTH, HEAD_DIM).to(narrow)
    slopes = torch.zeros(HEADS)
    theirs = variant("no_bias", case)(*apply_rotary(APPLIED[0], q, k, narrow), v, slopes)
    ours = variant("rope", case)(q, k, v, slopes)
    float32_angles = LENGTH * torch.finfo(torch.float32).eps
    assert (ours - theirs).norm() / theirs.norm() < torch.finfo(narrow).eps + float32_angles
