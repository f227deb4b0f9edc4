"""report.md has the answers, every cell, reason and command; hostile words stay words."""

from reports.web_page.page_data import page_data
from reports.web_page.report_markdown import report_markdown, text
from tests.reports.web_page.invented import a_device, two_devices

REPORT = report_markdown(page_data(two_devices()), [("Time", "charts/time.svg")])


def test_it_begins_with_the_answer_of_each_device() -> None:
    first, second = REPORT.splitlines()[2:6:2]
    assert first.startswith("Invented CPU, 2 cores: forward, float32, 8 heads of 64, causal. **")
    assert second.startswith("Other ")
    assert "native_window is fastest at all 3 lengths" in first


def test_every_cell_every_reason_and_every_command_is_in_it() -> None:
    data = page_data([a_device()])
    report = report_markdown(data, [])
    lines = [line.replace("|", " ").split() for line in report.splitlines()]
    shown = [words for words in lines if len(words) > 2 and words[0] in {"512", "1024", "2048"}]
    assert len(shown) == len(data.cells)
    assert report.count("out_of_memory, n") == 12
    assert all(f"    {cell.command}" in report for cell in data.cells)


def test_pictures_are_named_beside_it() -> None:
    assert "![Time](charts/time.svg)" in REPORT


def test_markup_in_names_and_reasons_is_no_markup() -> None:
    assert "<" not in REPORT
    assert "&lt;/script\\>" in REPORT


def test_what_markdown_would_read_has_a_backslash_and_names_stay_as_they_are() -> None:
    assert text("a|b `c` [d](e) *f* ~g~ native_window _h_") == (
        "a\\|b \\`c\\` \\[d\\](e) \\*f\\* \\~g\\~ native_window \\_h\\_"
    )
    assert text("two\nlines & more") == "two lines &amp; more"
