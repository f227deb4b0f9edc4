"""Where rows are: their lengths, dtypes and modes in words, and the order in which they stand."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from reports.tables.columns import length_of, mode_of
from reports.tables.row import Row
from reports.tables.table import by, shape_of

LONG_BATCH = 20
"""The most characters of a batch that is named by all of its sequences."""

Batch = tuple[tuple[int, ...], tuple[int, ...]]
"""The queries and the keys of each sequence; no queries where they are the keys."""


class Section(NamedTuple):
    """What rows of one table have in common: all but the length and the variant."""

    shape: str
    mode: str
    dtype: str


def section_of(row: Row) -> Section:
    """Return the section of a row."""
    return Section(shape_of(row), mode_of(row), row.dtype)


def by_section(rows: Iterable[Row]) -> dict[Section, list[Row]]:
    """Group rows by section in their order, each in order of length, and then of place."""
    grouped = by(section_of, rows)
    return {section: sorted(part, key=order) for section, part in grouped.items()}


def order(row: Row) -> tuple[object, ...]:
    """Sort by length, then the baselines, then from the fastest, then what has no time."""
    place = (row.answers == "alibi", row.rank is None, row.rank or 0, row.variant)
    return (*_length_order(row), *place)


def _length_order(row: Row) -> tuple[object, ...]:
    return row.kv_len, row.q_len, row.seq_lens, row.q_lens


def batch_names(rows: Iterable[Row]) -> dict[Batch, str]:
    """Return a name for each long batch among all rows of a group, such as "8 of 512-4096".

    It has the number of sequences and the least and most keys of one. Batches that are alike in
    these are told apart by all queries and keys together, or else by every sequence.
    """
    names = {
        _batch(row): _batch_names(row)
        for row in rows
        if row.seq_lens and len(length_of(row)) > LONG_BATCH
    }
    taken = Counter(name for own in names.values() for name in own)
    return {
        batch: next((name for name in own if taken[name] == 1), own[-1])
        for batch, own in names.items()
    }


def _batch(row: Row) -> Batch:
    return row.q_lens, row.seq_lens


def _batch_names(row: Row) -> tuple[str, str, str]:
    """Return names of a batch, the shortest first; the last has every sequence."""
    name = f"{len(row.seq_lens)} of {min(row.seq_lens)}-{max(row.seq_lens)}"
    queries = f", {sum(row.q_lens)} queries" if row.q_lens else ""
    return name, f"{name}{queries}, {sum(row.seq_lens)} keys", length_of(row)


def short_length(row: Row, batches: Mapping[Batch, str]) -> str:
    """Return the length without the one query of decode, which the mode says; or a batch's name.

    `batches` is what `batch_names` returns for all rows of the group.
    """
    if row.mode == "decode" and row.q_len == 1 and not row.seq_lens:
        return str(row.kv_len)
    return batches.get(_batch(row)) or length_of(row)


def by_length(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows of each length, shortest first, each length's in order."""
    return list(by(_length_order, sorted(rows, key=order)).values())


def lengths_of(rows: Iterable[Row], batches: Mapping[Batch, str]) -> list[str]:
    """Return the lengths of rows in words, shortest first, each once.

    `batches` is what `batch_names` returns for all rows of the group.
    """
    return [short_length(part[0], batches) for part in by_length(rows)]


def places(rows: Sequence[Row], all_rows: Sequence[Row]) -> str:
    """Return where rows are, such as "256 to 2048 in float32, 512 in bfloat16 decode".

    `all_rows` are those of the group. What they all share is not said.
    """
    everywhere, batches = by_section(all_rows), batch_names(all_rows)
    sections_by_span: dict[str, list[str]] = {}
    for section, part in by_section(rows).items():
        lengths = span(lengths_of(part, batches), lengths_of(everywhere[section], batches))
        sections_by_span.setdefault(lengths, []).append(section_words(part[0], all_rows))
    return ", ".join(
        lengths + " and".join(section) for lengths, section in sections_by_span.items()
    )


def section_words(row: Row, all_rows: Sequence[Row]) -> str:
    """Return " in" and what tells a row's section from others of `all_rows`, or an empty text."""
    kinds = set(map(section_of, all_rows))
    own = section_of(row)
    words = [
        text
        for text, field in ((own.dtype, 2), (own.mode, 1), (f"({own.shape})", 0))
        if len({section[field] for section in kinds}) > 1
    ]
    return f" in {' '.join(words)}" if words else ""


def span(lengths: Sequence[str], all_lengths: Sequence[str]) -> str:
    """Return lengths in words, three and more that follow each other as "256 to 2048".

    `all_lengths` are those that could be among them, shortest first.
    """
    runs: list[list[str]] = []
    for place, length in enumerate(all_lengths):
        if length not in lengths:
            continue
        if runs and place and runs[-1][-1] == all_lengths[place - 1]:
            runs[-1].append(length)
        else:
            runs.append([length])
    texts = [text for run in runs for text in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else run)]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))
