"""The patch of examples/transformers_patch.py: equal answers, nothing answered wrongly, undone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    StaticCache,
)
from transformers.models.bloom.modeling_bloom import BloomPreTrainedModel
from transformers.models.falcon.modeling_falcon import FalconPreTrainedModel
from transformers.models.mpt.modeling_mpt import MptPreTrainedModel

from examples import transformers_patch
from examples.transformers_patch import (
    NAME,
    NEW,
    alibi_attending,
    answers,
    attend,
    choices,
    compare,
    small_bloom,
    small_falcon,
    small_mpt,
)
from variants.attention import alibi_attention
from variants.catalog import ALIBI
from variants.problem import Unsupported, alibi_slopes

EXAMPLE = Path(transformers_patch.__file__)
LAYERS = 2
Build = Callable[..., Any]

each = pytest.mark.parametrize("build", [small_bloom, small_mpt, small_falcon])


@pytest.fixture(autouse=True)
def seed() -> None:
    """Give every test the same weights."""
    torch.manual_seed(0)


def tokens(rows: int = 2, length: int = 40) -> Tensor:
    """Return a prompt."""
    return torch.randint(256, (rows, length), generator=torch.Generator().manual_seed(1))


def gradients(model: Any) -> tuple[Tensor, ...]:
    """Return the loss of a training step and the gradients of all weights."""
    torch.manual_seed(0)  # of the dropout of hidden states, where there is any
    loss = model.train()(tokens(), labels=tokens(), use_cache=False).loss
    return (loss.detach(), *torch.autograd.grad(loss, [*model.parameters()]))


def far(ours: Tensor, theirs: Tensor) -> float:
    """Return the norm of the difference as a share."""
    return float(((ours - theirs).norm() / theirs.norm()).detach())


@each
def test_logits_and_decoded_tokens_are_the_models_own(build: Build) -> None:
    model = build()
    own_logits, own_tokens = answers(model, tokens())
    with alibi_attending(model), choices() as chosen:
        logits, decoded = answers(model, tokens())
    assert far(logits, own_logits) < 1e-5
    assert torch.equal(decoded, own_tokens)
    assert chosen.total() == LAYERS * (1 + NEW)  # the prompt twice, then all tokens but the last
    assert set(chosen) <= set(ALIBI) - {"auto"}


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize(
    ("build", "changes"),
    [
        (small_bloom, {}),
        (small_bloom, {"hidden_dropout": 0.3}),
        (small_mpt, {}),
        (small_falcon, {}),
    ],
    ids=["bloom", "bloom with dropout", "mpt", "falcon"],
)
def test_a_training_step_has_the_models_own_gradients(
    build: Build, changes: dict[str, Any], checkpointing: bool
) -> None:
    model = build(**changes)
    theirs = gradients(model)
    if checkpointing:
        model.activation_checkpointing_enable()
    with alibi_attending(model):
        ours = gradients(model)
    assert max(far(a, b) for a, b in zip(ours, theirs, strict=True)) < 1e-4


@torch.no_grad()
def test_in_bfloat16_a_patched_bloom_is_nearer_to_float32_than_its_own_attention() -> None:
    model, prompt = small_bloom().bfloat16(), tokens(1, 600)
    own = model(prompt).logits.float()
    with alibi_attending(model):
        ours = model(prompt).logits.float()
    truth = model.float()(prompt).logits
    assert far(ours, truth) < 0.03 < far(own, truth)


@each
def test_a_wrong_slope_is_noticed(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    assert compare(model)

    def steeper(
        q: Tensor, k: Tensor, v: Tensor, *, slopes: Tensor | None = None, **how: Any
    ) -> Any:
        slopes = alibi_slopes(q.shape[1]) if slopes is None else slopes
        return alibi_attention(q, k, v, slopes=1.1 * slopes, **how)

    monkeypatch.setattr(transformers_patch, "alibi_attention", steeper)
    assert not compare(model)


@each
def test_a_batch_padded_on_the_left_generates_the_models_own_tokens(build: Build) -> None:
    model = build()
    own_logits, own_tokens = answers(model, tokens(), padding=13)
    with alibi_attending(model), choices() as chosen:
        logits, decoded = answers(model, tokens(), padding=13)
    assert far(logits, own_logits) < 1e-5
    assert torch.equal(decoded, own_tokens)
    assert chosen.total() == LAYERS * (1 + NEW)


@each
@torch.no_grad()
def test_a_batch_padded_on_the_right_has_the_models_own_logits(build: Build) -> None:
    model, mask = build(), torch.ones_like(tokens())
    mask[0, -9:] = 0
    own = model(tokens(), attention_mask=mask).logits
    with alibi_attending(model):
        ours = model(tokens(), attention_mask=mask).logits
    assert far(ours[mask.bool()], own[mask.bool()]) < 1e-5


@each
def test_keys_after_the_last_query_are_refused(build: Build) -> None:
    model = build()
    with alibi_attending(model), pytest.raises(Unsupported, match="DynamicCache"):
        model(tokens(), past_key_values=StaticCache(model.config, max_cache_len=64), use_cache=True)


def test_a_mask_of_ones_own_which_mpt_takes_is_refused() -> None:
    model, length = small_mpt(), tokens().shape[1]
    with alibi_attending(model), pytest.raises(Unsupported, match="mask"):
        model(tokens(), attention_mask=torch.zeros(2, 1, length, length))


@each
def test_a_model_that_sees_the_future_is_refused(build: Build) -> None:
    model = build()
    model.config.is_causal = False
    with alibi_attending(model), pytest.raises(Unsupported, match="not just causal"):
        model(tokens())


@pytest.mark.parametrize(
    ("build", "changes"),
    [
        (small_bloom, {"attention_dropout": 0.5}),
        (small_mpt, {"attn_config": {"attn_pdrop": 1}}),
        (small_falcon, {"attention_dropout": 0.5}),
    ],
)
def test_dropout_of_attention_is_refused_in_training_alone(
    build: Build, changes: dict[str, Any]
) -> None:
    model = build(**changes)
    with alibi_attending(model):
        model(tokens())
        with pytest.raises(Unsupported, match="dropout"):
            model.train()(tokens())


def test_what_bloom_alone_can_be_asked_for_is_refused() -> None:
    model, sliced = small_bloom(), small_bloom(slow_but_exact=True, pretraining_tp=2)
    with alibi_attending(model), pytest.raises(Unsupported, match="output_attentions"):
        model(tokens(), output_attentions=True)
    with alibi_attending(sliced), pytest.raises(Unsupported, match="slow_but_exact"):
        sliced(tokens())


def test_mpts_clipping_and_scale_are_kept() -> None:
    model = small_mpt(attn_config={"clip_qkv": 0.5, "softmax_scale": 0.7})
    assert compare(model)


@each
@pytest.mark.parametrize("fails", [False, True], ids=["ends", "fails"])
def test_afterwards_the_model_is_as_it_was(build: Build, fails: bool) -> None:
    model = build()
    classes, config = [type(module) for module in model.modules()], model.config.to_dict()
    own = answers(model, tokens())[0]
    implementation = model.config._attn_implementation
    weights = list(model.state_dict())
    with pytest.raises(ZeroDivisionError) if fails else alibi_attending(model):
        if fails:
            with alibi_attending(model):
                raise ZeroDivisionError
        assert [type(module) for module in model.modules()] != classes
        assert list(model.state_dict()) == weights
    assert [type(module) for module in model.modules()] == classes
    assert (model.config.to_dict(), model.config._attn_implementation) == (config, implementation)
    with choices() as chosen:
        assert torch.equal(answers(model, tokens())[0], own)
    assert not chosen


def test_what_has_no_such_attention_or_ours_already_is_refused() -> None:
    with pytest.raises(Unsupported, match="Linear"), alibi_attending(nn.Linear(2, 2)):
        pass
    rotary = small_falcon(alibi=False)
    with alibi_attending(rotary), pytest.raises(Unsupported, match="rotary"):
        rotary(tokens())
    model = small_bloom()
    with alibi_attending(model), pytest.raises(Unsupported), alibi_attending(model):
        pass


@pytest.mark.parametrize(
    "family", [BloomPreTrainedModel, MptPreTrainedModel, FalconPreTrainedModel]
)
def test_no_model_with_alibi_follows_the_interface_so_that_a_patch_is_needed(family: Any) -> None:
    assert not family._can_set_attn_implementation()


@each
def test_the_name_on_a_model_that_is_not_patched_fails_and_never_sees_the_future(
    build: Build,
) -> None:
    with alibi_attending(build()):
        pass  # which registers
    with pytest.raises((RuntimeError, KeyError)):  # a Falcon can't even be built
        build(attn_implementation=NAME)(tokens())


def test_a_name_without_a_mask_function_lets_bloom_see_the_future(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(AttentionInterface._global_mapping, NAME, attend)
    monkeypatch.delitem(AttentionMaskInterface._global_mapping, NAME, raising=False)
    model, prompt = small_bloom(attn_implementation=NAME), tokens()
    before = model(prompt).logits[:, 0]
    prompt[:, -1] += 1 - 2 * (prompt[:, -1] > 0).long()
    assert far(model(prompt).logits[:, 0], before) > 0.01


def test_the_example_ends_with_0_and_says_what_was_taken(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("auto took") == 6
    assert done.stdout.count("are the same") == 6
