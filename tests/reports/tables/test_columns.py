"""What a column shows of a figure."""

import pytest

from reports.tables.columns import COLUMNS, NOTES, times


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(0.0021, "0.002x"), (0.0096, "0.01x"), (0.01, "0.01x"), (0.126, "0.13x"), (12.345, "12.35x")],
)
def test_a_ratio_is_never_shown_as_0(ratio: float, words: str) -> None:
    assert times(ratio) == words


def test_the_columns_of_every_metric_are_explained() -> None:
    assert set(NOTES) == set(COLUMNS)
    assert all(NOTES.values())
