"""Results fit a terminal: columns give way, long runs fold, and figures have a unit."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from reports.overview.places import by_length, span
from reports.overview.terminal import overview
from reports.overview.units import duration, size
from reports.tables.cells import groups
from reports.tables.columns import Metric
from reports.text.screen import Screen
from suite.records.store import read
from tests.reports.overview.test_winners import LONG, SHORT, race_of
from tests.reports.table_text import cells_of, flat, of_all_kinds, table

PUBLISHED = sorted((Path(__file__).parents[3] / "results" / "published").glob("*/*.jsonl"))


@pytest.mark.parametrize("metric", get_args(Metric))
@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal(metric: Metric, width: int) -> None:
    text = overview(groups([of_all_kinds()]), metric, Screen(width))
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("path", PUBLISHED[:: len(PUBLISHED) // 6], ids=lambda path: path.stem)
def test_published_results_fit_80_columns(path: Path) -> None:
    measured = groups([read(path)])
    for metric in get_args(Metric):
        assert max(map(len, overview(measured, metric, Screen()).splitlines())) <= 80


def test_a_wider_terminal_gets_more_columns() -> None:
    measured = groups([race_of({512: SHORT})])
    narrow, wide = (overview(measured, "time", Screen(width)) for width in (60, 120))
    assert "TFLOP/s" not in narrow
    assert "TFLOP/s" in wide


def test_columns_without_a_figure_are_left_out() -> None:
    text = overview(groups([race_of({512: SHORT})]), "clock", Screen(200))
    for header in ("device", "graph", "SM MHz", "throttled", "disturbed"):
        assert header not in text
    assert "On a CPU the time of a call is the only series." in text


def test_a_run_of_many_lengths_shows_a_line_a_variant_and_a_column_a_length() -> None:
    lengths = (256, 512, 1024, 2048, 4096)
    text = table("simple", race_of({512: SHORT} | {n: LONG for n in lengths if n != 512}))
    lines = [line.split() for line in text.splitlines()]
    assert ["variant", "256", "512", "1024", "2048", "4096"] in lines
    assert ["flex", "0.50x*", "3.00x", "0.50x*", "0.50x*", "0.50x*"] in lines
    assert ["no_bias", "4.00", "ms", "1.00", "ms", *["4.00", "ms"] * 3] in lines
    assert "Runs of over 4 lengths show ratios alone" in flat(text)


def test_four_lengths_keep_a_row_for_each_cell() -> None:
    text = table("simple", race_of(dict.fromkeys((256, 512, 1024, 2048), LONG)))
    assert len(cells_of(text)) == 4 * 3
    assert "show ratios alone" not in text


def test_lengths_that_do_not_fit_beside_each_other_follow_below() -> None:
    lengths = [2**power for power in range(7, 20)]
    text = table("simple", race_of(dict.fromkeys(lengths, LONG)))
    headers = [line.split()[1:] for line in text.splitlines() if line.startswith("variant ")]
    assert len(headers) > 1
    assert [int(length) for header in headers for length in header] == lengths


def test_batches_that_differ_in_their_requests_alone_have_a_winner_each() -> None:
    batch = {"batch": 2, "q_len": 700, "kv_len": 900, "seq_lens": (900, 700), "form": "packed"}
    rows = [
        msgspec.structs.replace(
            groups([race_of({512: SHORT})])[0].rows[1], **batch, q_lens=q_lens, case=str(q_lens)
        )
        for q_lens in ((1, 700), (700, 1))
    ]
    assert [part[0].q_lens for part in by_length(rows)] == [(1, 700), (700, 1)]


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (None, ""),
        (0.00051, "510 ns"),
        (0.3036, "304 us"),
        (0.99951, "1.00 ms"),
        (9.06, "9.06 ms"),
        (999.4, "999 ms"),
        (6280.0, "6.28 s"),
    ],
)
def test_a_time_has_the_unit_of_its_magnitude(milliseconds: float | None, words: str) -> None:
    assert duration(milliseconds) == words


@pytest.mark.parametrize(
    ("octets", "words"),
    [(None, ""), (96, "96 B"), (697_344, "681 KiB"), (2 << 20, "2.00 MiB"), (9 << 30, "9.00 GiB")],
)
def test_a_size_has_the_unit_of_its_magnitude(octets: int | None, words: str) -> None:
    assert size(octets) == words


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ("512", "512"),
        ("256 512", "256 and 512"),
        ("256 512 1024", "256 to 1024"),
        ("256 512 2048", "256, 512 and 2048"),
        ("256 512 1024 4096", "256 to 1024 and 4096"),
    ],
)
def test_lengths_that_follow_each_other_are_told_by_their_ends(lengths: str, words: str) -> None:
    assert span(lengths.split(), ["256", "512", "1024", "2048", "4096"]) == words
