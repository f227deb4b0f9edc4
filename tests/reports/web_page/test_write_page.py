"""`page` and `run --page`: what is written, what is refused, and how large a page is."""

import json
import re
from pathlib import Path

import pytest

from reports.web_page import write_page as module
from reports.web_page.write_page import write_page
from suite.records.store import Results
from tests.fakes.console import bench, refusal
from tests.fakes.in_process import start_real_lanes_in_process
from tests.records import write
from tests.reports.web_page.page_results import a_device, many_cells, two_devices


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a results file of an invented device."""
    device = a_device()
    return write(tmp_path / "run.jsonl", device.header, *device.records[1:])


@pytest.mark.parametrize("words", [["page", "FILE", "--out", "OUT"], ["run", "--page"]])
def test_a_missing_extra_is_told_with_its_command_before_anything_is_done(
    words: list[str], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    names = {"FILE": file, "OUT": tmp_path / "page"}
    more = [] if words[0] == "page" else ["--device", "cpu", "--out", tmp_path / "new.jsonl"]
    line = refusal(*(names.get(word, word) for word in words), *more)
    assert line == ("Error: a page needs altair and vl-convert-python: pip install -e '.[report]'")
    assert {path.name for path in tmp_path.iterdir()} == {"run.jsonl"}


@pytest.mark.usefixtures("_with_extra")
def test_a_folder_with_another_index_is_refused_and_left_as_it_is(
    file: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index.html"
    index.write_text("<h1>mine</h1>")
    assert "its index.html is no page of this program" in refusal("page", file, "--out", tmp_path)
    assert index.read_text() == "<h1>mine</h1>"


@pytest.mark.usefixtures("_with_extra")
def test_a_file_in_place_of_the_folder_is_refused(file: Path) -> None:
    assert f"--out {file}: not a folder" in refusal("page", file, "--out", file)


@pytest.mark.usefixtures("_with_extra")
def test_run_page_looks_at_the_folder_before_it_measures(file: Path, tmp_path: Path) -> None:
    (tmp_path / "new-page").write_text("mine")
    out = tmp_path / "new.jsonl"
    line = refusal("run", "--page", "--device", "cpu", "--sweep", "smoke", "--out", out)
    assert "new-page: not a folder" in line
    assert not out.exists()


@pytest.mark.usefixtures("_with_extra")
def test_a_file_that_is_no_results_file_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text("{}\n")
    line = refusal("page", tmp_path / "other.jsonl", "--out", tmp_path / "page")
    assert "not a results file" in line
    assert not (tmp_path / "page").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a page of two devices."""
    folder = tmp_path_factory.mktemp("page") / "out"
    write_page(two_devices(), folder)
    return folder


@pytest.mark.heavy
def test_the_charts_are_written_as_svg_and_png_and_named_in_the_report(folder: Path) -> None:
    names = {path.stem for path in (folder / "charts").iterdir()}
    assert {"time", "ratio", "gemm_share", "copy_share", "memory", "error"} < names
    assert {"trade_off", "density", "fastest_by_mode", "fastest_by_model"} < names
    report = (folder / "report.md").read_text()
    for name in names:
        svg = (folder / "charts" / f"{name}.svg").read_text()
        assert svg.startswith("<svg")
        assert "<script" not in svg
        assert (folder / "charts" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"(charts/{name}.svg)" in report


@pytest.mark.heavy
def test_the_pages_data_is_whole_and_holds_no_tag(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert "<" not in data[1]
    columns = json.loads(data[1])["columns"]
    assert {len(column) for column in columns.values()} == {96}
    assert "</script><script>" in columns["reason"][-1]


@pytest.mark.heavy
def test_the_page_names_no_address_to_load_from_and_may_open_none(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?(https?:|//)", page)
    assert "default-src 'none'" in page
    assert "$schema" not in page.partition('id="data">')[2]


@pytest.mark.heavy
def test_a_page_of_2000_cells_is_under_3_mb(tmp_path: Path) -> None:
    from reports.web_page.index_page import index_page
    from reports.web_page.page_data import page_data

    many: Results = many_cells(2000)
    data = page_data([many])
    assert len(data.cells) == 2000
    assert len(index_page(data).encode()) < 3 * 10**6


@pytest.mark.heavy
def test_run_page_writes_the_page_at_the_end_and_resume_writes_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_real_lanes_in_process(monkeypatch)
    out, index = tmp_path / "tiny.jsonl", tmp_path / "tiny-page" / "index.html"
    small = ["--variants", "eager", "--lengths", "32", "--dtypes", "float32", "--passes", "1"]
    done = bench("run", "--device", "cpu", *small, "--out", out, "--page")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"Results: {out}\nPage: {index}\n")
    answer = "fastest at the one length measured: 32 keys"  # a busy machine: looks fastest
    index.write_text(index.read_text().replace(answer, "older"))
    done = bench("run", "--resume", out, "--page")
    assert done.returncode == 0, done.stderr
    assert answer in index.read_text()


@pytest.mark.heavy
def test_an_axis_names_all_of_a_few_lengths_and_of_many_the_powers_of_two_or_the_ends() -> None:
    from reports.web_page.charts.kinds import key_ticks

    assert key_ticks({640, 300, 512}) == [300, 512, 640]
    assert key_ticks(range(250, 520)) == [256, 512]
    assert key_ticks(range(300, 500)) == [300, 499]
