"""The part of report.md on quality: answers, pictures, and tables of bits and of costs."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from reports.web_page.markdown_text import text
from reports.web_page.quality.page_quality import HEADING, FileQuality, PageQuality, SetupCosts


def quality_markdown(quality: PageQuality, pictures: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the blocks of the part; `pictures` are (title, path beside report.md)."""
    yield f"## {HEADING}"
    for file in quality.files:
        details = text(file.answer.details)
        yield f"{text(file.name)}. **{text(file.answer.headline)}.** {details}".strip()
    for title, path in pictures:
        yield f"![{text(title)}]({path})"
    for file in quality.files:
        yield from _file(file)


def _file(file: FileQuality) -> Iterator[str]:
    yield f"### {text(file.name)}"
    yield " ".join(map(text, file.notes))
    for table in file.tables:
        yield f"{text(table.title)}:"
        yield _table(table.headers, table.rows)
    for costs in file.costs:
        yield from _costs(costs)


def _costs(costs: SetupCosts) -> Iterator[str]:
    table = costs.table
    yield f"{text(costs.setup)}. {text(costs.headline)}."
    yield f"{text(table.title)}. {text(table.note)}:"
    yield _table(table.headers, table.rows)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return tabulate(rows, headers, "github", disable_numparse=True)
