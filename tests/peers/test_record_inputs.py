"""examples/record_inputs.py records what attention gets, and a race takes what it writes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from alibi_bench import alibi_attention
from examples import record_inputs
from examples.transformers_patch import small_bloom, small_mpt
from suite.agreement.inputs import slopes_of
from suite.cases.request import Request


def small_llama() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


@torch.no_grad()
def test_alibi_of_what_was_recorded_is_what_blooms_attention_answers() -> None:
    torch.manual_seed(0)
    model, tokens = small_bloom(), torch.randint(256, (2, 40))
    answers: list[torch.Tensor] = []
    dense = model.transformer.h[1].self_attention.dense
    hook = dense.register_forward_pre_hook(lambda _, inputs: answers.append(inputs[0]))
    before = model(tokens).logits
    with record_inputs.recording(model) as layers:
        recorded = model(tokens).logits
    hook.remove()
    assert sorted(layers) == [0, 1]
    assert torch.allclose(recorded, before, atol=1e-4)
    assert torch.equal(model(tokens).logits, before)
    out = alibi_attention(*layers[1], variant="eager")
    assert torch.allclose(out.transpose(1, 2).flatten(2), answers[0], atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("make", [small_llama, small_mpt])
def test_other_models_are_recorded_and_left_as_they_were(make: Any) -> None:
    model, tokens = make(), torch.randint(64, (1, 24))
    before = model(tokens).logits
    with record_inputs.recording(model) as layers:
        assert torch.allclose(model(tokens).logits, before, atol=1e-4)
    assert torch.equal(model(tokens).logits, before)
    count = len(layers)
    model(tokens[:, :5])
    assert len(layers) == count == 2
    assert layers[0][0].shape[2] == 24


@torch.no_grad()
def test_what_is_written_is_a_recording(tmp_path: Path) -> None:
    model, path = small_llama(), tmp_path / "llama.safetensors"
    with record_inputs.recording(model) as layers:
        model(torch.randint(64, (1, 24)))
    record_inputs.write(layers, path, only=[1], bias_max=16, causal=False)
    (case,) = Request(inputs=str(path)).plan("cpu").cases
    record_inputs.write(layers, tmp_path / "own.safetensors", slopes=torch.tensor([1.0, 2, 3, 4]))
    first, _ = Request(inputs=str(tmp_path / "own.safetensors")).plan("cpu").cases
    assert slopes_of(first).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (case.heads, case.kv_heads, case.head_dim, case.kv_len) == (4, 2, 16, 24)
    assert (case.dtype, case.bias_max, case.causal) == ("bfloat16", 16.0, False)


def test_a_model_learns_and_its_scores_are_told() -> None:
    data = record_inputs.text()
    assert len(data) > 5_000_000
    model = record_inputs.train_bloom(2.0, data[:100_000])
    assert not model.training
    q = torch.ones(1, 1, 2, 16)
    assert record_inputs.largest_score(q, q) == 4.0
