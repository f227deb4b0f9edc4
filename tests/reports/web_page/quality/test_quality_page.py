"""`page` takes files of `lengths`, alone and beside races: index.html, pictures, and refusals."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from suite.quality.design import QUICK
from tests.fakes.console import bench, refusal
from tests.quality_files import header, results, rising_bits
from tests.quality_files import write as write_lengths
from tests.records import write
from tests.reports.web_page.page_results import MARKUP
from tests.reports.web_page.quality.test_page_quality import RACE


@pytest.mark.usefixtures("_with_extra")
def test_a_file_of_lengths_without_a_test_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    path = write_lengths(tmp_path / "lengths.jsonl", [header()])
    line = refusal("page", path, "--out", tmp_path / "page")
    assert line == f"Error: {path}: no model was tested yet; lengths --resume {path} goes on"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("_with_extra")
def test_a_file_of_lengths_of_another_schema_is_refused(tmp_path: Path) -> None:
    other = msgspec.structs.replace(header(), schema=99)
    path = write_lengths(tmp_path / "lengths.jsonl", [other])
    assert "not a file of `lengths`, schema 1" in refusal("page", path, "--out", tmp_path / "page")


@pytest.mark.usefixtures("_with_extra")
def test_a_file_of_neither_kind_is_refused_beside_one_of_lengths(tmp_path: Path) -> None:
    whole = results()
    path = write_lengths(tmp_path / "lengths.jsonl", [whole.header, *whole.qualities])
    (tmp_path / "other.jsonl").write_text("{}\n")
    line = refusal("page", path, tmp_path / "other.jsonl", "--out", tmp_path / "page")
    assert "other.jsonl: not a results file" in line
    assert not (tmp_path / "page").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a file of `lengths`, whose text has a bad name, and of a race."""
    folder, whole = tmp_path_factory.mktemp("page"), results(bits_of=rising_bits)
    named = msgspec.structs.replace(whole.header, text_name=MARKUP)
    lengths = write_lengths(folder / "lengths.jsonl", [named, *whole.qualities])
    race = write(folder / "run.jsonl", RACE.header, *RACE.records[1:])
    done = bench("page", lengths, race, "--out", folder / "out")
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "out"


def data_of(folder: Path) -> Any:
    """Return the data of a page, which has no tag in it."""
    page = (folder / "index.html").read_text()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert "<" not in data[1]
    return json.loads(data[1])


@pytest.mark.heavy
def test_each_view_and_the_costs_are_pictures_that_the_report_names(folder: Path) -> None:
    names = {path.stem for path in (folder / "charts").glob("quality*.svg")}
    views = {f"quality-{name}" for name in ("methods", "scalings", "tuned", "conventions")}
    assert names == {*views, "quality-cost"}
    report = (folder / "report.md").read_text()
    for name in names:
        svg = (folder / "charts" / f"{name}.svg").read_text()
        assert svg.startswith("<svg")
        assert "<script" not in svg
        assert "bits per byte" in svg
        assert (folder / "charts" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"(charts/{name}.svg)" in report


@pytest.mark.heavy
def test_the_pages_data_has_the_answer_the_charts_and_the_costs(folder: Path) -> None:
    quality = data_of(folder)["quality"]
    (file,) = quality["files"]
    assert file["name"] == MARKUP
    assert file["answer"]["headline"].startswith("At 2048 tokens, 16 times the trained length")
    assert [view["name"] for view in quality["views"]] == [
        "methods",
        "scalings",
        "tuned",
        "conventions",
    ]
    assert all("layer" in view["spec"] for view in quality["views"])
    assert {point["multiple"] for point in file["costs"][0]["points"]} == {1, 4}
    assert data_of(folder)["first"]["mode"] == "forward"


@pytest.mark.heavy
def test_a_page_of_lengths_alone_has_no_parts_of_races(tmp_path: Path) -> None:
    whole = results(QUICK)
    path = write_lengths(tmp_path / "lengths.jsonl", [whole.header, *whole.qualities])
    done = bench("page", path, path, "--out", tmp_path / "page")
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "<title>Quality beyond the trained length</title>" in page
    assert "<h1>What ALiBi buys: trained short, tested long</h1>" in page
    assert '<form id="filters" aria-label="Filters" hidden>' in page
    data = data_of(tmp_path / "page")
    assert data["first"] is None
    assert len(data["quality"]["files"]) == 1
    charts = {each.name for each in (tmp_path / "page" / "charts").iterdir()}
    assert charts == {"quality-methods.svg", "quality-methods.png"}
