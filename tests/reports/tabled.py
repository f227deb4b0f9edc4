"""A file with cells of all kinds, its table, and what a reader finds in the text of one."""

from reports.tables.cells import groups
from reports.tables.table import TableFormat, render
from suite.records.record import CellRecord
from suite.records.store import Results
from tests.records import (
    VARIANTS,
    a_canary,
    a_case,
    a_check,
    a_fault,
    a_machine,
    a_plan,
    measured,
    results,
)


def of_all_kinds() -> Results:
    """Return a file in which every kind of fate has befallen a cell."""
    short, long = a_case(512), a_case(2048, "bfloat16", "backward")
    records: list[CellRecord] = []
    for number in (1, 2, 3):
        records += measured(short, "no_bias", 2.0, number)
        records += measured(short, "eager", 6.0, number)
        records += measured(short, "flex", 3.0, number)
        records += measured(long, "no_bias", 90.0, number)
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
    """Return the rendered table of files."""
    return render(groups(files), layout)


def lines_of(text: str) -> list[list[str]]:
    """Return the words of each line, without what frames a table."""
    return [line.replace("|", " ").split() for line in text.splitlines()]


def cells_of(text: str) -> list[tuple[str, ...]]:
    """Return (length, dtype, mode, variant) of each line that shows a cell."""
    dtypes = {"float32", "bfloat16", "float16"}
    return [tuple(words[:4]) for words in lines_of(text) if len(words) > 3 and words[1] in dtypes]


def summary_of(text: str) -> dict[tuple[str, str], str]:
    """Return what the summary says for each length and mode."""
    lines = text[text.index("fastest that agrees") :].splitlines()[2:]
    found = {}
    for line in lines:
        words = line.replace("|", " ").split()
        if len(words) < 3 or words[1] not in {"forward", "backward"}:
            break
        found[words[0], words[1]] = " ".join(words[2:])
    return found
