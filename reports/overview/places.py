"""Where rows are: their lengths, dtypes and modes in words, and the order in which they stand."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reports.tables.columns import length_of, mode_of
from reports.tables.row import Row
from reports.tables.table import by, shape_of

LONG_BATCH = 20


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


def short_length(row: Row) -> str:
    """Return the length without the one query of decode; of a long batch the number of sequences.

    The mode says decode, and the file has every sequence.
    """
    if row.mode == "decode" and row.q_len == 1 and not row.seq_lens:
        return str(row.kv_len)
    text = length_of(row)
    if len(text) > LONG_BATCH:
        return f"{len(row.seq_lens)} of {min(row.seq_lens)}-{max(row.seq_lens)}"
    return text


def by_length(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows of each length, shortest first, each length's in order."""
    return list(by(_length_order, sorted(rows, key=order)).values())


def lengths_of(rows: Iterable[Row]) -> list[str]:
    """Return the lengths of rows in words, shortest first, each once."""
    return [short_length(part[0]) for part in by_length(rows)]


def places(rows: Sequence[Row], measured: Sequence[Row]) -> str:
    """Return where rows are, such as "256 to 2048 in float32, 512 in bfloat16 decode".

    `measured` are all rows of the group. What they all share is not said.
    """
    everywhere = by_section(measured)
    sections_by_span: dict[str, list[str]] = {}
    for section, part in by_section(rows).items():
        lengths = span(lengths_of(part), lengths_of(everywhere[section]))
        sections_by_span.setdefault(lengths, []).append(section_words(part[0], measured))
    return ", ".join(
        lengths + " and".join(section) for lengths, section in sections_by_span.items()
    )


def section_words(row: Row, measured: Sequence[Row]) -> str:
    """Return " in" and what tells a row's section from others of `measured`, or an empty text."""
    kinds = set(map(section_of, measured))
    own = section_of(row)
    words = [
        text
        for text, field in ((own.dtype, 2), (own.mode, 1), (f"({own.shape})", 0))
        if len({section[field] for section in kinds}) > 1
    ]
    return f" in {' '.join(words)}" if words else ""


def span(lengths: Sequence[str], measured: Sequence[str]) -> str:
    """Return lengths in words, three and more that follow each other as "256 to 2048".

    `measured` are all lengths that could be among them, shortest first.
    """
    runs: list[list[str]] = []
    for place, length in enumerate(measured):
        if length not in lengths:
            continue
        if runs and place and runs[-1][-1] == measured[place - 1]:
            runs[-1].append(length)
        else:
            runs.append([length])
    texts = [text for run in runs for text in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else run)]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))
