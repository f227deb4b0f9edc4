"""A byte-pair vocabulary: learned from text, then used to encode it.

The rule is that of Sennrich et al. (arXiv 1508.07909) over bytes: the most frequent pair of
neighbouring pieces becomes a piece, again and again. Pieces never reach over the border of a word.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

WORDS = re.compile(r" ?[A-Za-z]+| ?[0-9]+|\n *| ?[^\sA-Za-z0-9]+|\s+")
BYTES = 256

BytePair = tuple[bytes, bytes]


def learn_merges(texts: Iterable[str], merges: int) -> list[BytePair]:
    """Return the pairs to merge, the most frequent first; of equals the larger pair.

    Words that occur once are left out. Returns fewer than `merges` where the text has no more.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(WORDS.findall(text))
    pieces = {word: _bytes_of(word) for word, times in counts.items() if times > 1}
    frequencies: Counter[BytePair] = Counter()
    words_with: defaultdict[BytePair, set[str]] = defaultdict(set)
    for word, parts in pieces.items():
        for pair in pairwise(parts):
            frequencies[pair] += counts[word]
            words_with[pair].add(word)
    learned: list[BytePair] = []
    while len(learned) < merges and frequencies:
        best = max(frequencies.items(), key=lambda item: (item[1], item[0]))[0]
        learned.append(best)
        for word in words_with.pop(best):
            before, after = pieces[word], _merge(pieces[word], best)
            for pair in pairwise(before):
                frequencies[pair] -= counts[word]
            for pair in pairwise(after):
                frequencies[pair] += counts[word]
                words_with[pair].add(word)
            pieces[word] = after
        del frequencies[best]
    return learned


class Vocabulary:
    """Byte pieces by number: first the 256 bytes, then what each merge makes."""

    def __init__(self, merges: Sequence[BytePair]) -> None:
        """Number the pieces."""
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._number = {bytes([byte]): byte for byte in range(BYTES)}
        for first, second in merges:
            self._number.setdefault(first + second, len(self._number))
        self._numbers_of_words: dict[str, list[int]] = {}

    @property
    def piece_bytes(self) -> list[int]:
        """The length of each piece in bytes, by number."""
        return [len(piece) for piece in self._number]

    def encode(self, text: str) -> list[int]:
        """Return the numbers of the pieces that a text is made of."""
        numbers: list[int] = []
        for word in WORDS.findall(text):
            if word not in self._numbers_of_words:
                self._numbers_of_words[word] = self._encode_word(word)
            numbers += self._numbers_of_words[word]
        return numbers

    def _encode_word(self, word: str) -> list[int]:
        parts = _bytes_of(word)
        while len(parts) > 1:
            pairs = pairwise(parts)
            best = min(pairs, key=lambda pair: self._rank.get(pair, len(self._rank)))
            if best not in self._rank:
                break
            parts = _merge(parts, best)
        return [self._number[part] for part in parts]


def _bytes_of(word: str) -> list[bytes]:
    return [bytes([byte]) for byte in word.encode()]


def _merge(parts: list[bytes], pair: BytePair) -> list[bytes]:
    merged: list[bytes] = []
    place = 0
    while place < len(parts):
        if tuple(parts[place : place + 2]) == pair:
            merged.append(parts[place] + parts[place + 1])
            place += 2
        else:
            merged.append(parts[place])
            place += 1
    return merged
