"""A test counts bits by bytes, on all of a window and on the same last targets at each length."""

import math

import numpy
import pytest
import torch
from torch import Tensor

from suite.quality.methods import METHOD_BY_NAME, Positions
from suite.quality.model.decoder import Decoder
from suite.quality.model.testing import bits_at
from suite.quality.text.corpus import Corpus
from tests.suite.quality.toys import toy_corpus, toy_design

pytestmark = pytest.mark.usefixtures("one_thread")

DESIGN = toy_design("alibi")
POSITIONS = METHOD_BY_NAME["alibi"].positions(16)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return toy_corpus(tmp_path_factory.mktemp("text"), DESIGN)


class Counter(Decoder):
    """Says of each place how many tokens it has before it, in place of a model."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__(METHOD_BY_NAME["alibi"], corpus.summary.vocabulary, DESIGN.size)
        self.contexts: list[Tensor] = []

    def forward(self, tokens: Tensor, positions: Positions, recorded: object = None) -> Tensor:
        """Return zeros, of which every token is as likely as any other."""
        self.contexts.append(torch.tensor(tokens.shape))
        return torch.zeros(*tokens.shape, DESIGN.size.width)


@pytest.mark.parametrize("length", DESIGN.lengths)
def test_a_model_that_knows_nothing_needs_the_bits_of_the_vocabulary(
    corpus: Corpus, length: int
) -> None:
    bits = bits_at(Counter(corpus), POSITIONS, corpus, length)
    sizes = corpus.piece_bytes[corpus.windows[:, 1:]]
    whole = math.log2(corpus.summary.vocabulary) * 64 / sizes.sum(1)
    last = math.log2(corpus.summary.vocabulary) * 16 / sizes[:, -16:].sum(1)
    assert bits.by_windows == pytest.approx(whole.tolist())
    assert bits.on_same_targets == pytest.approx(last.tolist())


def test_every_same_target_has_three_quarters_of_the_length_before_it(corpus: Corpus) -> None:
    model = Counter(corpus)
    bits_at(model, POSITIONS, corpus, 16)
    cut, *pieces = model.contexts
    assert cut.tolist() == [6 * 64 // 16, 16]
    assert [shape.tolist() for shape in pieces] == [[6, 16]] * 4


@pytest.mark.parametrize("length", DESIGN.lengths)
def test_both_measures_are_the_losses_of_a_model_computed_one_window_at_a_time(
    corpus: Corpus, length: int
) -> None:
    torch.manual_seed(0)
    model = Decoder(METHOD_BY_NAME["alibi"], corpus.summary.vocabulary, DESIGN.size).eval()
    torch.nn.init.normal_(model.head.weight, std=0.3)
    bits = bits_at(model, POSITIONS, corpus, length)
    window = torch.from_numpy(corpus.windows[3].astype(numpy.int64))
    cut, same = [], []
    with torch.no_grad():
        for target in range(1, 65):
            start = (target - 1) // length * length
            cut.append(_nats(model, window[start : target + 1]))
            if target > 48:
                step = 64 if length == 64 else length // 4
                end = -(-(target - 48) // step) * step + 48 if length < 64 else 64
                same.append(_nats(model, window[max(0, end - length) : target + 1]))
    sizes = corpus.piece_bytes[corpus.windows[3, 1:]]
    assert bits.by_windows[3] == pytest.approx(sum(cut) / math.log(2) / sizes.sum(), rel=1e-4)
    expected = sum(same) / math.log(2) / sizes[-16:].sum()
    assert bits.on_same_targets[3] == pytest.approx(expected, rel=1e-4)


def _nats(model: Decoder, tokens: Tensor) -> float:
    """Return the loss of the last token after those before it."""
    logits = model.head(model(tokens[None, :-1], POSITIONS)[0, -1])
    return float(-torch.log_softmax(logits, 0)[tokens[-1]])
