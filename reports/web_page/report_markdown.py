"""report.md: answers, tables, steps, statuses and the fingerprint as GitHub's Markdown."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from reports.tables.columns import three_digits, times
from reports.tables.table import by
from reports.web_page.answers import ViewAnswer
from reports.web_page.markdown_text import text
from reports.web_page.over_time.page_history import PageHistory
from reports.web_page.over_time.step_rows import STEP_HEADERS, step_rows
from reports.web_page.page_cells import PageCell, View, view_of
from reports.web_page.page_data import PageData, SetupFacts
from reports.web_page.quality.quality_report import quality_markdown

_HEADERS = (
    "keys",
    "variant",
    "ms",
    "95% interval",
    "vs no_bias",
    "% GEMM",
    "% copy",
    "peak MiB",
    "error",
    "budget",
    "density",
    "rank",
)
_TEXTS = {"variant", "rank"}


def report_markdown(
    data: PageData,
    pictures: Sequence[tuple[str, str]],
    of_quality: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the text of report.md; pictures are (title, path beside report.md).

    `of_quality` are those of files of `lengths`.
    """
    parts = [f"# {data.heading}", *(_races(data, pictures) if data.cells else ())]
    if data.quality:
        parts += quality_markdown(data.quality, of_quality)
    if data.cells:
        parts += ["## Every cell", *_cells(data), *_reasons(data), *_commands(data)]
        parts += ["## What it was measured on", *(_fingerprint(setup) for setup in data.setups)]
    return "\n\n".join(parts) + "\n"


def _races(data: PageData, pictures: Sequence[tuple[str, str]]) -> Iterator[str]:
    first = [answer for answer in data.answers if answer.view == data.first]
    others = [answer for answer in data.answers if answer.view != data.first]
    yield from _answers(first)
    for title, path in pictures:
        yield f"## {title}\n\n![{title}]({path})"
    if others:
        yield "## Other models, modes and dtypes"
        yield from _answers(others)
    if data.history:
        yield from _history(data.history)


def _answers(answers: Sequence[ViewAnswer]) -> Iterator[str]:
    for answer in answers:
        words = " ".join([answer.by_how_much, answer.how_sure]).strip()
        where = text(f"{answer.setup}: {_view_words(answer.view)}")
        doubt = f"**{text(answer.doubt)}** " if answer.doubt else ""
        yield f"{where}. {doubt}**{text(answer.headline)}.** {text(words)}"


def _history(history: PageHistory) -> Iterator[str]:
    yield "## From run to run"
    yield " ".join(f"{text(words)}." for words in (history.summary, history.lacks) if words)
    rows = [[text(word) for word in row] for row in step_rows(history)]
    if rows:
        yield tabulate(rows, STEP_HEADERS, "github", disable_numparse=True)


def _view_words(view: View) -> str:
    return f"{view.mode}, {view.dtype}, {view.model}"


def _cells(data: PageData) -> Iterator[str]:
    alignment = ["left" if header in _TEXTS else "right" for header in _HEADERS]
    for (setup, view), cells in by(lambda cell: (cell.setup, view_of(cell)), data.cells).items():
        yield f"### {text(setup)}: {text(_view_words(view))}"
        lines = [_line(cell) for cell in sorted(cells, key=_order)]
        yield tabulate(lines, _HEADERS, "github", colalign=alignment, disable_numparse=True)


def _order(cell: PageCell) -> tuple[object, ...]:
    return cell.kv_len, cell.answers == "alibi", cell.rank is None, cell.rank or 0, cell.variant


def _line(cell: PageCell) -> list[str]:
    interval = cell.time_ci_ms
    return [
        cell.length,
        text(cell.variant),
        three_digits(cell.time_ms),
        "" if interval is None else " to ".join(three_digits(end) for end in interval),
        "" if cell.vs_no_bias is None else times(cell.vs_no_bias),
        _percent(cell.gemm_share),
        _percent(cell.copy_share),
        "" if cell.peak_mib is None else f"{cell.peak_mib:.2f}",
        "" if cell.error is None else f"{cell.error:.1e}",
        "" if cell.error_budget is None else f"{cell.error_budget:.1e}",
        _percent(cell.density),
        text(cell.place),
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g}"


def _reasons(data: PageData) -> Iterator[str]:
    gone = [cell for cell in data.cells if cell.status != "measured"]
    if gone:
        yield "## What was not measured, and why"
        yield "\n".join(
            f"- {text(cell.variant)} {text(cell.status)}, {text(cell.case)} on "
            f"{text(cell.setup)}: {text(cell.reason or '')}"
            for cell in gone
        )


def _commands(data: PageData) -> Iterator[str]:
    """Yield the commands that measure again, each once: setups of one kind share them."""
    yield "## Measure a cell again"
    commands = dict.fromkeys(cell.command for cell in data.cells if cell.command is not None)
    yield "\n".join(f"    {' '.join(command.split())}" for command in commands)
    lacking = sum(cell.command is None for cell in data.cells)
    if lacking:
        yield f"{lacking} cells have none: their slopes or scale came from a file of models."


def _fingerprint(setup: SetupFacts) -> str:
    lines = [[text(name), text(value)] for name, value in setup.facts]
    facts = tabulate(lines, ("fact", "value"), "github", disable_numparse=True)
    notes = [setup.conditions, *setup.cautions]
    return "\n\n".join([f"### {text(setup.name)}", *map(text, notes), facts])
