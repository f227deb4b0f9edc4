"""A wrong convention costs more than its cost differs by seed, and no variant costs anything."""

from typing import Any
from unittest import mock

import msgspec
import numpy
import pytest
import torch

from suite.quality.design import LengthTest, ModelSize
from suite.quality.methods import METHOD_BY_NAME, SCALINGS, WRONG_SLOPES, Change
from suite.quality.model.task import positions_of
from suite.quality.model.testing import bits_at
from suite.quality.model.training import TrainedModel, new_model, steps_of, train
from suite.quality.text.corpus import Corpus, build
from suite.quality.text.sources import SourceFile
from tests.suite.quality.toys import toy_design
from variants.attention import alibi_attention
from variants.catalog import CATALOG

pytestmark = pytest.mark.usefixtures("one_thread")

DESIGN = msgspec.structs.replace(
    toy_design("alibi", "rope", steps=500), size=ModelSize(1, 64, 8, 300)
)
SEEDS = (0, 1)


def lag_text(seed: int) -> str:
    """Return letters of which nine in ten repeat the last but one, so that distances matter."""
    draws = numpy.random.default_rng(seed)
    letters = ["a", "b"]
    for _ in range(1500):
        letters.append(letters[-2] if draws.random() < 0.9 else chr(97 + draws.integers(20)))
    return " " + " ".join(letters)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return build([SourceFile(f"{number}", lag_text(number)) for number in range(40)], 300, 64, 6)


def train_models(corpus: Corpus, name: str, steps: int = DESIGN.steps) -> list[TrainedModel]:
    method = METHOD_BY_NAME[name]
    positions, device = method.positions(DESIGN.trained_len), torch.device("cpu")
    return [
        train(
            new_model(method, DESIGN, corpus.summary.vocabulary, seed),
            positions,
            corpus,
            steps_of(DESIGN)._replace(steps=steps),
            seed,
            device,
            lambda *_: None,
        )
        for seed in SEEDS
    ]


@pytest.fixture(scope="module")
def alibi(corpus: Corpus, one_thread: None) -> list[TrainedModel]:
    return train_models(corpus, "alibi")


def bits(models: list[TrainedModel], corpus: Corpus, name: str, change: Change, length: int) -> Any:
    """Return bits per byte of each seed's model on the same targets."""
    test = LengthTest(change, tuned=False)
    positions = positions_of(METHOD_BY_NAME[name], test, DESIGN.trained_len, DESIGN.tuned_len)
    measured = [bits_at(each.model, positions, corpus, length) for each in models]
    return numpy.array(
        [numpy.average(each.on_same_targets, weights=each.target_bytes) for each in measured]
    )


def spread(values: Any) -> float:
    return float(values.max() - values.min())


@pytest.mark.heavy
@pytest.mark.parametrize("change", WRONG_SLOPES)
def test_a_wrong_convention_costs_more_than_its_cost_differs_by_seed(
    alibi: list[TrainedModel], corpus: Corpus, change: Change
) -> None:
    right = bits(alibi, corpus, "alibi", "none", 16)
    wrong = bits(alibi, corpus, "alibi", change, 16)
    cost = wrong - right  # paired by seed, because such small models differ much from each other
    assert cost.min() > max(0.05, spread(cost)), (right, wrong)


@pytest.mark.heavy
def test_the_right_convention_twice_costs_nothing(
    alibi: list[TrainedModel], corpus: Corpus
) -> None:
    once, again = (bits(alibi, corpus, "alibi", "none", 16) for _ in range(2))
    assert (once == again).all()


ON_CPU = [
    each.name
    for each in CATALOG
    if each.answers == "alibi" and each.device in {"any", "cpu"} and not each.builds
]


@pytest.mark.heavy
@pytest.mark.parametrize("length", DESIGN.lengths)
@pytest.mark.parametrize("variant", [name for name in ON_CPU if name != "eager"])
def test_every_variant_gives_the_bits_of_the_formula(
    alibi: list[TrainedModel], corpus: Corpus, variant: str, length: int
) -> None:
    def bits_by(name: str) -> Any:
        def attention(*tensors: Any, **options: Any) -> Any:
            return alibi_attention(*tensors, **options, variant=name)

        with mock.patch("suite.quality.positions.attention.alibi_attention", attention):
            return bits(alibi, corpus, "alibi", "none", length)

    assert abs(bits_by(variant) - bits_by("eager")).max() < 1e-3


@pytest.fixture(scope="module")
def rope(corpus: Corpus, one_thread: None) -> list[TrainedModel]:
    return train_models(corpus, "rope", steps=60)


@pytest.mark.heavy
def test_every_scaling_is_rope_at_the_trained_length_and_differs_beyond(
    rope: list[TrainedModel], corpus: Corpus
) -> None:
    short, long = (bits(rope, corpus, "rope", "none", length) for length in DESIGN.lengths)
    for scaling in SCALINGS:
        assert (bits(rope, corpus, "rope", scaling, 16) == short).all()
        assert (bits(rope, corpus, "rope", scaling, 64) != long).all()
