"""report.md on quality: the answer, pictures, both tables and costs; hostile names stay words."""

import msgspec

from reports.web_page.page_data import page_data
from reports.web_page.report_markdown import report_markdown
from tests.quality_files import results, rising_bits
from tests.reports.web_page.page_results import MARKUP, a_device
from tests.reports.web_page.quality.test_page_quality import LENGTHS, RACE

PICTURES = [("Bits per byte by tested length", "charts/quality-methods.svg")]
ALONE = report_markdown(page_data([], [LENGTHS]), [], PICTURES)
BESIDE = report_markdown(page_data([a_device()], [LENGTHS]), [], PICTURES)


def test_alone_it_begins_with_the_answer_and_has_no_cells() -> None:
    lines = ALONE.splitlines()
    assert lines[0] == "# What ALiBi buys: trained short, tested long"
    assert lines[2] == "## Quality beyond the trained length"
    assert "**At 2048 tokens, 16 times the trained length, ALiBi needs 0.004" in lines[4]
    assert "Every cell" not in ALONE


def test_beside_races_it_stands_before_the_cells() -> None:
    headings = [line for line in BESIDE.splitlines() if line.startswith(("# ", "## "))]
    assert headings[0] == "# Which ALiBi attention backend is fastest"
    place = headings.index("## Quality beyond the trained length")
    assert headings[place + 1] == "## Every cell"


def test_it_has_the_pictures_and_both_tables() -> None:
    assert "![Bits per byte by tested length](charts/quality-methods.svg)" in ALONE
    assert ALONE.count("| T5's bias ") == 2
    assert "The same last 128 tokens at every length" in ALONE
    assert "All held-out text, cut into windows of the length" in ALONE


def test_costs_are_a_table_of_all_modes() -> None:
    report = report_markdown(page_data([RACE], [LENGTHS]), [])
    lines = [line for line in report.splitlines() if line.startswith("| T5's bias ")]
    (line,) = [line for line in lines if "prefill" in line]
    assert [word.strip() for word in line.strip("|").split("|")] == [
        "T5's bias",
        "prefill",
        "1.60x (1.60 to 1.60)",
        "2.10x (2.10 to 2.10)",
    ]


def test_markup_in_the_name_of_a_text_is_no_markup() -> None:
    header = msgspec.structs.replace(LENGTHS.header, text_name=MARKUP)
    report = report_markdown(page_data([], [LENGTHS._replace(header=header)]), [])
    assert "<" not in report
    assert "&lt;/script\\>" in report


def test_a_table_has_the_spread_of_its_seeds() -> None:
    report = report_markdown(page_data([], [results(bits_of=rising_bits)]), [])
    (line, *_) = [line for line in report.splitlines() if line.startswith("| RoPE ")]
    assert "1.510 ±.010" in line
