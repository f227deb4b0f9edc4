"""A corpus: the tokens to learn from, and windows of held-out files to be tested on."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy
from numpy.typing import NDArray

from suite.failures import BadRequest
from suite.quality.text.byte_pairs import BYTES, Vocabulary, learn_merges
from suite.quality.text.sources import SourceFile, digest_of
from suite.quality.text.summary import TextSummary

EVERY_FOURTH = 4
"""The vocabulary is learned from every fourth file; all of them take four times as long."""


class Corpus(NamedTuple):
    """Token numbers: `tokens` [tokens] to learn from, `windows` [windows, longest + 1] for tests.

    A window lies inside of one file; its last token is only a target. `piece_bytes` [vocabulary]
    has the bytes of each token, by which losses become bits per byte.
    """

    tokens: NDArray[numpy.int16]
    windows: NDArray[numpy.int16]
    piece_bytes: NDArray[numpy.int64]
    summary: TextSummary


def build(files: Sequence[SourceFile], vocabulary: int, longest: int, windows: int) -> Corpus:
    """Return the corpus of files; of the windows there are, `windows` are taken, evenly spaced.

    Raises BadRequest where no held-out file is as long as a window, or too little is left to learn.
    """
    pieces = vocabulary_of(files, vocabulary)
    learned = [file for file in files if not file.is_held_out]
    tokens = _array([number for file in learned for number in pieces.encode(file.text)])
    cut: list[NDArray[numpy.int16]] = []
    for file in files:
        if file.is_held_out:
            numbers = _array(pieces.encode(file.text))
            whole = (len(numbers) - 1) // longest
            cut += [numbers[i * longest : (i + 1) * longest + 1] for i in range(whole)]
    if len(cut) < 2 or len(tokens) <= 2 * longest:
        raise BadRequest(
            f"the text has {len(tokens)} tokens to learn from and {len(cut)} windows of {longest} "
            f"to test on; give over {2 * longest} tokens and held-out files with 2 windows"
        )
    places = numpy.linspace(0, len(cut) - 1, min(windows, len(cut))).round().astype(int)
    chosen = numpy.stack([cut[place] for place in places])
    piece_bytes = numpy.array(pieces.piece_bytes, numpy.int64)
    summary = TextSummary(
        files=len(files),
        held_out_files=sum(file.is_held_out for file in files),
        text_bytes=sum(len(file.text.encode()) for file in files),
        tokens=len(tokens),
        windows=len(chosen),
        vocabulary=len(piece_bytes),
        bytes_per_token=round(float(piece_bytes[chosen].mean()), 4),
        digest=digest_of(list(files)),
    )
    return Corpus(tokens, chosen, piece_bytes, summary)


def vocabulary_of(files: Sequence[SourceFile], size: int) -> Vocabulary:
    """Return the vocabulary of so many pieces that is learned from files that aren't held out."""
    learned = [file for file in files if not file.is_held_out]
    return Vocabulary(learn_merges((file.text for file in learned[::EVERY_FOURTH]), size - BYTES))


def save(corpus: Corpus, path: Path) -> None:
    """Write a corpus, in one piece: a reader sees the whole file or none."""
    unfinished = path.with_suffix(".unfinished.npz")
    numpy.savez(
        unfinished,
        tokens=corpus.tokens,
        windows=corpus.windows,
        piece_bytes=corpus.piece_bytes,
        summary=numpy.frombuffer(msgspec.json.encode(corpus.summary), numpy.uint8),
    )
    unfinished.replace(path)


def load(path: Path) -> Corpus:
    """Return a corpus that `save` wrote."""
    with numpy.load(path) as arrays:
        summary = msgspec.json.decode(arrays["summary"].tobytes(), type=TextSummary)
        return Corpus(arrays["tokens"], arrays["windows"], arrays["piece_bytes"], summary)


def _array(numbers: Sequence[int]) -> NDArray[numpy.int16]:
    return numpy.array(numbers, numpy.int16)
