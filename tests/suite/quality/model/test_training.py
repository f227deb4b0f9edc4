"""A model learns, repeats itself to the last bit, and keeps its master weights."""

import pytest
import torch

from suite.quality.methods import METHOD_BY_NAME
from suite.quality.model.testing import bits_at
from suite.quality.model.training import (
    Steps,
    TrainedModel,
    new_model,
    rate_at,
    steps_of,
    train,
    tuning_steps_of,
)
from suite.quality.text.corpus import Corpus
from tests.suite.quality.toys import toy_corpus, toy_design

pytestmark = pytest.mark.usefixtures("one_thread")

DESIGN = toy_design("alibi", steps=40)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return toy_corpus(tmp_path_factory.mktemp("text"), DESIGN)


def train_model(corpus: Corpus, name: str = "alibi", seed: int = 0) -> TrainedModel:
    method = METHOD_BY_NAME[name]
    model = new_model(method, DESIGN, corpus.summary.vocabulary, seed)
    positions = method.positions(DESIGN.trained_len)
    device = torch.device("cpu")
    return train(model, positions, corpus, steps_of(DESIGN), seed, device, lambda *_: None)


@pytest.mark.parametrize("name", METHOD_BY_NAME)
def test_every_method_learns(corpus: Corpus, name: str) -> None:
    losses = train_model(corpus, name).losses
    assert sum(losses[-5:]) / 5 < losses[0] - 1.5


def test_the_same_run_twice_gives_the_same_numbers_and_another_seed_others(corpus: Corpus) -> None:
    first, second, other = (train_model(corpus, seed=seed) for seed in (0, 0, 1))
    assert first.losses == second.losses
    weights = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in weights)
    assert first.losses != other.losses


def test_t5_s_biases_get_further_than_the_usual_rate_would_take_them(corpus: Corpus) -> None:
    table = train_model(corpus, "t5").model.table
    assert table is not None
    steps = steps_of(DESIGN)
    usual = sum(rate_at(step, steps) for step in range(steps.steps))
    assert table.abs().max() > 2 * usual


def test_training_leaves_the_given_model_as_it_was(corpus: Corpus) -> None:
    method = METHOD_BY_NAME["alibi"]
    model = new_model(method, DESIGN, corpus.summary.vocabulary, 0)
    before = model.embedding.weight.detach().clone()
    steps = steps_of(DESIGN)._replace(steps=2)
    positions, device = method.positions(16), torch.device("cpu")
    train(model, positions, corpus, steps, 0, device, lambda *_: None)
    assert torch.equal(model.embedding.weight, before)


def test_the_rate_rises_and_then_falls_to_a_twentieth() -> None:
    steps = Steps(100, 1, 1, 2.0)
    rates = [rate_at(step, steps) for step in range(100)]
    assert rates[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert max(rates) == 2.0
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.03)


def test_a_step_of_tuning_learns_as_many_tokens_in_longer_windows() -> None:
    usual, longer = steps_of(DESIGN), tuning_steps_of(DESIGN)
    assert usual.batch * usual.length == longer.batch * longer.length
    assert longer.length == 2 * usual.length


def test_the_report_hears_the_mean_loss_of_the_last_steps(corpus: Corpus) -> None:
    heard: list[tuple[int, float]] = []
    method = METHOD_BY_NAME["nope"]
    model = new_model(method, DESIGN, corpus.summary.vocabulary, 0)
    steps = steps_of(DESIGN)._replace(steps=30)
    done = train(
        model,
        method.positions(16),
        corpus,
        steps,
        0,
        torch.device("cpu"),
        lambda *words: heard.append(words),
    )
    assert [number for number, _ in heard] == [20, 30]
    assert heard[0][1] == pytest.approx(sum(done.losses[:20]) / 20)
    assert heard[1][1] == pytest.approx(sum(done.losses[10:]) / 20)


@pytest.mark.gpu
@pytest.mark.parametrize("name", METHOD_BY_NAME)
def test_a_model_learns_and_is_tested_on_a_gpu_as_on_a_cpu(corpus: Corpus, name: str) -> None:
    method = METHOD_BY_NAME[name]
    model = new_model(method, DESIGN, corpus.summary.vocabulary, 0)
    positions, steps = method.positions(DESIGN.trained_len), steps_of(DESIGN)
    ends = []
    for device in ("cpu", "cuda"):
        done = train(model, positions, corpus, steps, 0, torch.device(device), lambda *_: None)
        bits = bits_at(done.model, positions, corpus, DESIGN.lengths[-1]).by_windows
        ends.append(sum(bits) / len(bits))
    assert ends[0] == pytest.approx(ends[1], rel=0.02)
