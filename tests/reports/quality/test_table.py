"""The table has the mean of seeds weighted by bytes, its spread, and fits 80 columns."""

import json
from pathlib import Path

import msgspec
import pytest

from reports.quality.rows import Bits, rows_of
from reports.quality.table import render
from suite.quality.design import DEFAULT, QUICK, LengthTest
from suite.quality.record import ModelFault, Quality
from suite.quality.results import LengthsResults, read
from tests.quality_files import header, qualities, write


def results_of(tmp_path: Path, *records: object, design: object = DEFAULT) -> LengthsResults:
    return read(write(tmp_path / "lengths.jsonl", [header(design), *records]))  # type: ignore[arg-type, list-item]


def test_a_cell_is_the_mean_of_the_seeds_and_half_of_their_range(tmp_path: Path) -> None:
    text = render(results_of(tmp_path, *qualities()), "simple")
    (line, *_) = [line for line in text.splitlines() if line.startswith("RoPE ")]
    assert line.split("  ")[-1].strip() == "1.510 ±.010"
    assert "1.610 ±.010" in text.split("The same last 128 tokens")[1]


def test_a_window_counts_by_its_bytes(tmp_path: Path) -> None:
    uneven = Quality("alibi", 0, "none", False, 128, (2.0, 1.0, 1.0, 1.0), (1.0,) * 4, 1.0)
    (row,) = rows_of(results_of(tmp_path, uneven))
    assert row.by_windows.mean == pytest.approx((300 * 2.0 + 300 * 1.0) / 600)


def test_every_test_has_a_line_under_its_method_and_no_line_is_over_80_wide(
    tmp_path: Path,
) -> None:
    lines = render(results_of(tmp_path, *qualities()), "simple").splitlines()
    assert max(map(len, lines)) <= 80
    place = lines.index(next(line for line in lines if line.startswith("RoPE ")))
    assert [line[:24].strip() for line in lines[place + 1 : place + 7]] == [
        "- PI",
        "- NTK-aware",
        "- dynamic NTK",
        "- YaRN",
        "- YaRN, no temperature",
        "- tuned at 512",
    ]


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    text = render(results_of(tmp_path, *qualities(QUICK), design=QUICK), "simple")
    assert "one seed" in text
    assert "±" not in text


def test_a_model_that_failed_is_named_and_its_cells_are_empty(tmp_path: Path) -> None:
    fault = ModelFault("sinusoidal", 0, "killed by SIGKILL")
    left = [each for each in qualities(QUICK) if each.method != "sinusoidal"]
    text = render(results_of(tmp_path, fault, *left, design=QUICK), "simple")
    assert "Failed: sinusoidal, seed 0: killed by SIGKILL" in text


def test_a_file_without_tests_says_so(tmp_path: Path) -> None:
    assert "no model was tested yet" in render(results_of(tmp_path), "github")


def test_programs_get_every_figure_by_seed(tmp_path: Path) -> None:
    fields = json.loads(render(results_of(tmp_path, *qualities()), "json"))
    tests = sum(len(DEFAULT.tests(method)) for method, seed in DEFAULT.models() if seed == 0)
    assert len(fields["rows"]) == 4 * tests
    assert fields["rows"][0]["by_windows_of_seeds"] == {"0": 1.5, "1": 1.51, "2": 1.52}
    assert msgspec.convert(fields["design"], type(DEFAULT)) == DEFAULT


def test_differences_are_paired_by_seed() -> None:
    difference = Bits({0: 1.5, 1: 1.8, 2: 9.0}).less(Bits({0: 1.4, 1: 1.7}))
    assert difference is not None
    assert difference.by_seed == pytest.approx({0: 0.1, 1: 0.1})
    assert Bits({0: 1.0}).less(Bits({1: 1.0})) is None


def test_a_tuned_test_and_an_untuned_one_are_different_rows(tmp_path: Path) -> None:
    rows = rows_of(results_of(tmp_path, *qualities()))
    tests = [row.test for row in rows if row.method.name == "rope" and row.length == 512]
    assert LengthTest("yarn", True) in tests
    assert LengthTest("yarn", False) in tests
    assert len(tests) == len(set(tests))
