"""Rows that differ have lengths that differ, however long their batches are."""

import pytest

from reports.overview.terminal import overview
from reports.tables.cells import groups
from reports.text.screen import Screen
from suite.cases.case import Case
from tests.records import a_cell, a_machine, a_plan, results
from tests.reports.table_text import flat

Sequences = tuple[tuple[int, int], ...]

USUAL = ((1, 4096), (1, 4096), (1, 2048), (512, 2048))


def a_batch(sequences: Sequences) -> Case:
    """Return a server's batch of these queries and keys."""
    q_lens, seq_lens = zip(*sequences, strict=True)
    return Case(
        heads=8,
        head_dim=64,
        kv_heads=8,
        dtype="float32",
        batch=len(sequences),
        q_len=max(q_lens),
        kv_len=max(seq_lens),
        seq_lens=seq_lens,
        q_lens=q_lens,
        form="packed",
    )


def table_of(*batches: Sequences) -> str:
    """Return the table for a wide terminal of one variant in these batches, in one line."""
    cases = [a_batch(batch) for batch in batches]
    records = [record for case in cases for record in a_cell(case, "eager")]
    file = results(a_machine(a_plan(*cases, variants=["eager"])), *records)
    return flat(overview(groups([file]), "time", Screen(160)))


def test_a_long_batch_is_named_by_its_number_of_sequences_and_their_lengths() -> None:
    text = table_of(USUAL, ((1, 512), (1, 768), (1, 512), (512, 1024)))
    assert "4 of 2048-4096 * eager" in text
    assert "4 of 512-1024 * eager" in text


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (
            ((1, 4096), (1, 2048), (1, 2048), (512, 2048)),
            (
                "4 of 2048-4096, 515 queries, 10240 keys",
                "4 of 2048-4096, 515 queries, 12288 keys",
            ),
        ),
        (
            ((1, 4096), (1, 4096), (1, 2048), (256, 2048)),
            (
                "4 of 2048-4096, 259 queries, 12288 keys",
                "4 of 2048-4096, 515 queries, 12288 keys",
            ),
        ),
        (
            ((1, 4096), (1, 2048), (1, 4096), (512, 2048)),
            ("1:4096,1:2048,1:4096,512:2048", "2x1:4096,1:2048,512:2048"),
        ),
    ],
    ids=["keys", "queries", "order"],
)
def test_batches_that_are_alike_in_short_are_told_apart(
    other: Sequences, names: tuple[str, str]
) -> None:
    text = table_of(USUAL, other)
    for name in names:
        assert f"{name} * eager" in text
    assert f"Use eager: at {names[0]} and {names[1]}" in text
