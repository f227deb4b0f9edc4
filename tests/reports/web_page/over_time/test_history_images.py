"""A history's panels are pictures too: those with a step, each with its size and cause."""

from pathlib import Path

import pytest

from reports.web_page.write_page import write_page
from tests.reports.web_page.page_results import a_history

pytestmark = pytest.mark.heavy


def test_the_panels_with_a_step_are_a_picture_that_the_report_names(tmp_path: Path) -> None:
    write_page(a_history(), tmp_path)
    svg = (tmp_path / "charts" / "history.svg").read_text()
    titles = ["eager, 512 keys", "flex, 512 keys", "native_window, 512 keys"]
    places = [svg.index(title) for title in titles]
    assert places == sorted(places), "the regression first, then by size"
    assert "eager, 1024 keys" not in svg
    for words in ("+5.0% code", "−9.9% environment", "+6.1% machine"):
        assert words in svg
    assert (tmp_path / "charts" / "history.png").read_bytes().startswith(b"\x89PNG")
    assert "(charts/history.svg)" in (tmp_path / "report.md").read_text()


def test_where_no_cell_has_a_step_the_first_cells_are_drawn(tmp_path: Path) -> None:
    write_page(a_history()[:3], tmp_path)
    svg = (tmp_path / "charts" / "history.svg").read_text()
    assert "eager, 1024 keys" in svg
    assert "% code" not in svg
