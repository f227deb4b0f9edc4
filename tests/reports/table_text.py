"""A file with cells of all kinds, its table, and what a reader finds in the text of one."""

from typing import Literal

from reports.overview.github import page
from reports.overview.terminal import overview
from reports.tables.cells import groups
from reports.tables.table import render
from reports.text.screen import Screen
from suite.records.record import CellRecord
from suite.records.store import Results
from tests.records import (
    VARIANTS,
    a_canary,
    a_case,
    a_cell,
    a_check,
    a_fault,
    a_machine,
    a_plan,
    results,
)
from variants.catalog import RACED

TableFormat = Literal["simple", "github", "csv", "json"]
DTYPES = ("float32", "bfloat16", "float16")
NAMES = {variant.name for variant in RACED}


def of_all_kinds() -> Results:
    """Return a file in which every kind of fate has befallen a cell."""
    short, long = a_case(512), a_case(2048, "bfloat16", "backward")
    records: list[CellRecord] = []
    for number in (1, 2, 3):
        records += a_cell(short, "no_bias", 2.0, number)
        records += a_cell(short, "eager", 6.0, number)
        records += a_cell(short, "flex", 3.0, number)
        records += a_cell(long, "no_bias", 90.0, number)
    records += [
        a_check(short, "compile", error=1e-5),
        a_check(short, "sdpa_mask", error=None),
        a_fault(long, "eager", status="out_of_memory", reason="needs 9 GiB of 4; go shorter"),
        a_fault(long, "flex", status="unsupported", reason="no backward here; use eager"),
        a_fault(long, "compile", status="timed_out", reason="60 s; raise --step-timeout"),
    ]
    plan = a_plan(short, long, variants=[*VARIANTS, "compile", "sdpa_mask"], passes=3)
    return results(a_machine(plan), a_canary(), *records)


def table(layout: TableFormat, *files: Results) -> str:
    """Return the rendered table of files; for people in 80 columns."""
    measured = groups(files)
    if layout == "simple":
        return overview(measured, "time", Screen())
    return page(measured) if layout == "github" else render(measured, layout)


def flat(text: str) -> str:
    """Return a text without its line breaks, as a sentence that was wrapped reads."""
    return " ".join(text.split())


def lines_of(text: str) -> list[list[str]]:
    """Return the words of each line, without what frames a table or marks a row."""
    lines = [line.replace("|", " ").split() for line in text.splitlines()]
    return [[word for word in words if word not in {"*", "="}] for words in lines]


def cells_of(text: str) -> list[tuple[str, ...]]:
    """Return (length, dtype, mode, variant) of each line that shows a cell.

    A terminal has a heading with dtype and mode, Markdown has columns.
    """
    heading: tuple[str, ...] = ()
    cells: list[tuple[str, ...]] = []
    for line, words in zip(text.splitlines(), lines_of(text), strict=True):
        if line.startswith("|"):
            cells += [tuple(words[:4])] if words[1:2] and words[1] in DTYPES else []
        elif len(words) > 1 and words[0].rstrip(",") in DTYPES:
            heading = (words[0].rstrip(","), words[1].rstrip(";"))
        elif len(words) > 2 and words[0].isdecimal() and words[1] in NAMES:
            cells.append((words[0], *heading, words[1]))
    return cells


def summary_of(text: str) -> dict[tuple[str, str], str]:
    """Return what the summary of a Markdown table says for each length and mode."""
    lines = text[text.index("fastest that agrees") :].splitlines()[2:]
    found = {}
    for line in lines:
        words = line.replace("|", " ").split()
        if len(words) < 3 or words[1] not in {"forward", "backward"}:
            break
        found[words[0], words[1]] = " ".join(words[2:])
    return found
