"""A vocabulary learns the most frequent pairs, and encodes any text without loss."""

import pytest

from suite.quality.text.byte_pairs import BYTES, Vocabulary, learn_merges

TEXTS = ["abab abab abcd\n", "abab xyxy xy xy\n"]


def decode(vocabulary: Vocabulary, numbers: list[int], merges: list[tuple[bytes, bytes]]) -> bytes:
    pieces = [bytes([byte]) for byte in range(BYTES)]
    pieces += dict.fromkeys(first + second for first, second in merges)
    return b"".join(pieces[number] for number in numbers)


def test_the_most_frequent_pair_is_merged_first_and_then_what_it_made() -> None:
    merges = learn_merges(["abab abab abab\n"] * 2, 2)
    assert merges == [(b"a", b"b"), (b"ab", b"ab")]


def test_a_text_without_more_pairs_ends_the_learning() -> None:
    assert len(learn_merges(["aa aa"], 50)) < 5


@pytest.mark.parametrize("text", ["abab abcd", "naïve façade: 日本\n\n\t  x = 1", "", "\x00\xff"])
def test_any_text_is_encoded_without_loss(text: str) -> None:
    merges = learn_merges(TEXTS * 3, 12)
    vocabulary = Vocabulary(merges)
    numbers = vocabulary.encode(text)
    assert decode(vocabulary, numbers, merges) == text.encode()
    assert sum(vocabulary.piece_bytes[number] for number in numbers) == len(text.encode())


def test_merges_make_a_text_shorter() -> None:
    text = TEXTS[0] * 5
    assert len(Vocabulary(learn_merges(TEXTS * 3, 12)).encode(text)) < 0.7 * len(text)
