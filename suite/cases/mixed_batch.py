"""A server's batch in words: 2x1:4096,512:2048 is count x queries : keys, separated by commas.

A sequence in decode has one query, a chunk of a prefill has more, and a whole prompt has as many
queries as keys. The queries are a sequence's last tokens.
"""

import re
from collections.abc import Iterable
from itertools import groupby

MOST_SEQUENCES = 4096
_GROUP = re.compile(r"(?:(\d{1,9})x)?(\d{1,9}):(\d{1,9})")


def read(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the queries and the keys of each sequence. Raises ValueError for other words."""
    sequences: list[tuple[int, int]] = []
    for word in text.split(","):
        match = _GROUP.fullmatch(word.strip())
        if match is None:
            raise ValueError(f"{word.strip() or text!r}: give count x queries : keys, as 2x1:4096")
        count, q_len, kv_len = int(match[1] or 1), int(match[2]), int(match[3])
        if not 1 <= count <= MOST_SEQUENCES - len(sequences):
            raise ValueError(
                f"{word.strip()}: give at least 1 sequence and at most {MOST_SEQUENCES}"
            )
        if not 1 <= q_len <= kv_len:
            raise ValueError(f"{word.strip()}: give at least 1 query, and as many keys or more")
        sequences += [(q_len, kv_len)] * count
    q_lens, kv_lens = zip(*sequences, strict=True)
    return q_lens, kv_lens


def notation(q_lens: Iterable[int], kv_lens: Iterable[int]) -> str:
    """Return the words of a batch; sequences that are alike and in a row are counted."""
    groups = groupby(zip(q_lens, kv_lens, strict=True))
    counted = ((len(list(group)), *lengths) for lengths, group in groups)
    return ",".join(
        f"{count}x{q_len}:{kv_len}" if count > 1 else f"{q_len}:{kv_len}"
        for count, q_len, kv_len in counted
    )
