"""A planted convention is told from the right one, by outputs alone."""

import pytest
import torch
from torch import Tensor

from suite.atlas import conventions
from tests.suite.atlas import biases
from tests.suite.atlas.biases import BiasFunction, implementation
from variants.problem import Attention, Spec, Unsupported, alibi_slopes

RIGHT = implementation(biases.right)


def test_the_definition_has_every_convention_of_ours() -> None:
    assert conventions.sign(RIGHT) == "nearer weigh more"
    assert conventions.use_of_slopes(RIGHT) == "the caller's"
    assert conventions.place_of_scale(RIGHT) == "after the scale"
    assert conventions.bidirectional_form(RIGHT) == "unsigned"
    assert conventions.alignment(RIGHT) == "bottom-right"
    assert conventions.grouped_heads(RIGHT) == "right"
    assert conventions.gradients(RIGHT) == "right"
    assert conventions.slope_gradients(RIGHT) == "right"


@pytest.mark.parametrize(
    ("bias", "words"),
    [(biases.wrong_sign, "farther weigh more"), (biases.no_bias, "no bias")],
)
def test_a_wrong_sign_and_no_bias_are_told(bias: BiasFunction, words: str) -> None:
    assert conventions.sign(implementation(bias)) == words


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        (biases.twice, "twice the caller's"),
        (biases.without_bias_max, "its own"),
        (biases.literal, "its own"),  # with 8 heads both rules are the same
    ],
)
def test_slopes_that_are_not_the_callers_are_told(bias: BiasFunction, words: str) -> None:
    assert conventions.use_of_slopes(implementation(bias)) == words


def test_a_bias_that_is_scaled_with_the_scores_is_told() -> None:
    scaled = implementation(biases.scale_with_scores)
    assert conventions.place_of_scale(scaled) == "scaled with the scores"
    assert conventions.use_of_slopes(scaled) == "the caller's / sqrt(head_dim)"


def test_a_signed_bias_is_told_where_nothing_is_hidden() -> None:
    assert conventions.bidirectional_form(implementation(biases.signed_distance)) == "signed"
    assert conventions.sign(implementation(biases.signed_distance)) == "nearer weigh more"


def test_a_chunk_aligned_top_left_is_told() -> None:
    assert conventions.alignment(implementation(biases.right, top_left=True)) == "top-left"


def test_a_mask_that_hides_the_future_always_is_told() -> None:
    def prepare(spec: Spec) -> Attention:
        return RIGHT(spec.__class__(**vars(spec) | {"causal": True}))

    assert conventions.bidirectional_form(prepare) == "hides the future"


@pytest.mark.parametrize(
    ("heads", "rule"),
    [
        (8, "both rules"),
        (12, "the literal rule"),
        (17, "the literal rule"),
        (112, "the literal rule"),
    ],
)
def test_the_literal_rule_is_told_where_it_differs(heads: int, rule: str) -> None:
    found = conventions.slope_rule(implementation(biases.literal), heads)
    assert (found.heads, found.rule) == (heads, rule)
    assert found.first == pytest.approx(2 ** (-8 / heads), rel=1e-3)


@pytest.mark.parametrize("heads", conventions.HEAD_COUNTS)
def test_the_callers_slopes_are_those_of_the_papers_code(heads: int) -> None:
    found = conventions.slope_rule(RIGHT, heads)
    assert found.rule == ("both rules" if heads == 8 else "the paper's code")
    assert found.last == pytest.approx(float(alibi_slopes(heads)[-1]), rel=1e-3)


def test_wrong_heads_and_wrong_gradients_are_told() -> None:
    def shuffle(spec: Spec) -> Attention:
        def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
            return RIGHT(spec)(q, k.roll(1, dims=1), v, slopes)

        return attention

    def detach(spec: Spec) -> Attention:
        def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
            return RIGHT(spec)(q, k, v, slopes) + 0.01 * slopes.sum() * q + 0 * (k + v).sum()

        return attention

    assert conventions.grouped_heads(shuffle).startswith("wrong by")
    assert conventions.gradients(detach).startswith("wrong by")
    assert conventions.slope_gradients(detach).startswith("wrong by")


def test_padding_of_ours_is_right() -> None:
    with torch.no_grad():
        assert conventions.padding("eager") == "right"


def test_who_takes_no_whole_prefill_is_asked_with_a_chunk() -> None:
    def chunks_alone(spec: Spec) -> Attention:
        if spec.q_len == spec.kv_len:
            raise Unsupported("a cache is read by chunks")
        return RIGHT(spec)

    assert conventions.use_of_slopes(chunks_alone) == "the caller's"
    assert conventions.grouped_heads(chunks_alone) == "right"
    assert conventions.slope_rule(chunks_alone, 12).rule == "the paper's code"
