"""Every line of the pages that calls this project is one that it would accept."""

import re
from pathlib import Path

import pytest

from suite.conditions.policy import ROOT
from tests.docs.test_ci import calls, check

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM = r"python run_bench\.py|python -m pytest|pytest|make"
PATTERN = rf"^ {{4,}}(?:\.venv/bin/)?((?:{PROGRAM}) .*)$"


def lines_of(page: Path) -> list[str]:
    """Return a page's indented lines that call this project, without comments and line breaks."""
    text = re.sub(r"\\\n +", "", page.read_text()).replace("$n", "1")
    lines = re.findall(PATTERN, text, re.MULTILINE)
    return [
        re.sub(r" +#.*", "", line) for line in lines if not re.search("COMMAND|--version", line)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_line_of_a_page_that_calls_this_project_would_be_accepted(page: Path) -> None:
    for line in lines_of(page):
        assert all(check(call) for call in calls(line)), line


def test_pages_have_such_lines() -> None:
    assert len(lines_of(ROOT / "README.md")) > 15
    assert len(lines_of(ROOT / "docs" / "cli.md")) > 25


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_code_follows_a_list_whose_last_item_would_swallow_it(page: Path) -> None:
    item_then_code = r"^(?:- |  )\S[^\n]*\n\n {4}(?! )\S[^\n]*$"
    assert re.findall(item_then_code, page.read_text(), re.MULTILINE) == []
