"""A design and a text so small that a model learns in a second."""

from pathlib import Path

import numpy

from suite.quality.design import Design, ModelSize
from suite.quality.text.corpus import Corpus, build
from suite.quality.text.sources import folder_files

WORDS = ("far", "near", "then", "where", "under", "over", "again", "never", "first", "last")


def toy_design(*methods: str, seeds: int = 1, steps: int = 40) -> Design:
    """Return a design whose models learn at 16 tokens and are tested at 16 and 64."""
    return Design(
        name="toy",
        methods=methods,
        seeds=seeds,
        steps=steps,
        tuning_steps=2,
        lengths=(16, 64),
        windows=6,
        batch=8,
        trained_len=16,
        tuned_len=32,
        size=ModelSize(layers=1, width=32, head_dim=8, vocabulary=300),
    )


def write_toy_text(folder: Path, files: int = 40) -> Path:
    """Write files whose words repeat after a random distance, and return their folder."""
    draws = numpy.random.default_rng(0)
    for number in range(files):
        words: list[str] = []
        for _ in range(400):
            before = int(draws.integers(1, 12))
            repeats = len(words) > before and draws.random() < 0.7
            words.append(words[-before] if repeats else WORDS[draws.integers(len(WORDS))])
        (folder / f"{number}.txt").write_text(" ".join(words))
    return folder


def toy_corpus(folder: Path, design: Design) -> Corpus:
    """Return the corpus of a toy text."""
    files = folder_files(write_toy_text(folder))
    return build(files, design.size.vocabulary, design.lengths[-1], design.windows)
