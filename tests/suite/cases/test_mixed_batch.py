"""A server's batch in words: read, written, and refused with what is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.cases.mixed_batch import notation, read

SEQUENCES = st.lists(st.tuples(st.integers(1, 9), st.integers(9, 10**7)), min_size=1)


def test_a_count_makes_that_many_sequences_and_without_one_it_is_one() -> None:
    assert read("2x1:4096, 512:2048,1x1:900") == ((1, 1, 512, 1), (4096, 4096, 2048, 900))


def test_sequences_that_are_alike_and_in_a_row_are_counted() -> None:
    assert notation((1, 1, 512, 1), (4096, 4096, 2048, 4096)) == "2x1:4096,512:2048,1:4096"


@given(sequences=SEQUENCES)
def test_what_is_written_is_read_again(sequences: list[tuple[int, int]]) -> None:
    q_lens, kv_lens = zip(*sequences, strict=True)
    assert read(notation(q_lens, kv_lens)) == (q_lens, kv_lens)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'': give count x queries : keys, as 2x1:4096"),
        ("1:2,", "'1:2,': give count x queries : keys"),
        ("900", "'900': give count"),
        ("-1x1:9", "'-1x1:9': give count"),
        ("2x1:4096;1:9", "give count x queries"),
        ("0x1:9", "0x1:9: give at least 1 sequence"),
        ("999999999x1:9", "999999999x1:9: give at least 1 sequence and at most 4096"),
        ("4096x1:9,1:9", "1:9: give at least 1 sequence and at most 4096"),
        ("0:9", "0:9: give at least 1 query, and as many keys or more"),
        ("10:9", "10:9: give at least 1 query, and as many keys or more"),
    ],
)
def test_other_words_are_refused_with_what_is_right(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(text)
