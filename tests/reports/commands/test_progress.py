"""Whoever watches a run learns which cell is at work, what became of it, and how long it takes."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reports.commands.progress import PlainProgress, outcome, progress
from suite.records.record import CellRecord
from tests.records import a_case, a_cell, a_check, a_fault

ROOT = Path(__file__).parents[3]
CASE = a_case()


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "3 measured"),
        (a_cell(CASE, "eager"), "3 measured"),
        ([a_fault(CASE, "flex", status="crashed")], "2 measured, flex crashed"),
        ([a_check(CASE, "flex", error=1.0)], "2 measured, flex disagrees"),
        ([a_check(CASE, "flex", stage="after", error=None)], "2 measured, flex disagrees"),
        (
            [a_fault(CASE, "flex"), a_check(CASE, "eager", error=1.0)],
            "1 measured, flex unsupported, eager disagrees",
        ),
        (
            [*a_cell(CASE, "flex"), a_fault(CASE, "flex", status="timed_out")],
            "2 measured, flex timed_out",
        ),
    ],
)
def test_an_outcome_counts_the_measured_and_names_the_rest(
    records: list[CellRecord], words: str
) -> None:
    assert outcome(records, 3) == words


def test_plain_progress_is_a_line_a_race_with_cells_and_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch = PlainProgress()
    watch.begin(12)
    watch.step(CASE, "eager", "first call")
    watch.report(f"pass 1, {CASE.id}", a_cell(CASE, "eager"), 6)
    watch.step(CASE, "flex", "round 2")
    watch.report(f"pass 2, {CASE.id}", [a_fault(CASE, "flex")], 6)
    said = capsys.readouterr()
    assert said.out == ""
    begun, first, second = said.err.splitlines()
    assert begun == "12 cells to measure"
    assert re.fullmatch(rf"\[6/12 cells, (\d+m)?\d+s left\] pass 1, {CASE.id}: 6 measured", first)
    assert second == f"[12/12 cells, 0s left] pass 2, {CASE.id}: 5 measured, flex unsupported"


def test_progress_is_plain_where_stderr_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress() as watch:
        watch.begin(1)
        watch.note("pass 1: something")
        watch.report(f"pass 1, {CASE.id}", [], 1)
    said = capsys.readouterr()
    assert "\x1b" not in said.err
    assert len(said.err.splitlines()) == 3
    assert "pass 1: something" in said.err.splitlines()


RUN = """
import time
from reports.commands.progress import progress
from tests.records import a_case, a_fault
case = a_case(1024, "bfloat16", "backward")
with progress() as watch:
    watch.begin(12)
    watch.note("pass 1: what is to be known [of it], " + "however long the line is " * 4)
    for variant, doing in (("sdpa_mask", "first call"), ("flex", "round 12")):
        watch.step(case, variant, doing)
        time.sleep(0.4)
    watch.report(f"pass 1, {case.id}", [a_fault(case, "flex", status="crashed")], 6)
    watch.step(case, "eager", "check again")
    time.sleep(0.4)
"""


@pytest.fixture(scope="module")
def screen_text() -> str:
    """Return what a terminal receives from a run, without what moves its cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text_of_a_run(100, "xterm"))


def text_of_a_run(columns: int, term: str) -> str:
    """Return all that a terminal of a width and a kind receives from a run."""
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": str(columns), "TERM": term},
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as running:
        os.close(theirs)
        received = b""
        while piece := read_piece(terminal):
            received += piece
        os.close(terminal)
        assert running.communicate()[0] == b""
    assert running.returncode == 0
    return received.decode()


def read_piece(terminal: int) -> bytes:
    """Return what comes next, or nothing once the other side has gone."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_a_terminal_shows_the_cell_the_variant_and_its_step(screen_text: str) -> None:
    cell = a_case(1024, "bfloat16", "backward").id
    assert f"{cell} sdpa_mask: first call" in screen_text
    assert f"{cell} flex: round 12" in screen_text


def test_a_terminal_shows_how_many_cells_are_done_and_the_time_left(screen_text: str) -> None:
    assert "0/12 cells" in screen_text
    assert re.search(r" 6/12 cells, (\d+m)?\d+s left", screen_text)


def test_a_terminal_keeps_a_line_for_a_race_that_went_wrong(screen_text: str) -> None:
    cell = a_case(1024, "bfloat16", "backward").id
    assert f"pass 1, {cell}: 5 measured, flex crashed" in screen_text


def test_a_terminal_keeps_a_note_whole(screen_text: str) -> None:
    said = " ".join(screen_text.split())
    assert "pass 1: what is to be known [of it], " + "however long the line is " * 4 in f"{said} "


def test_a_narrow_terminal_cuts_names_short_before_the_count_and_the_time_left() -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text_of_a_run(60, "xterm"))
    shown = [line for line in re.split(r"[\r\n]+", text) if "cells" in line]
    assert max(map(len, shown)) <= 60
    assert any(re.search(r" 6/12 cells, (\d+m)?\d+s left n1024-\S+ ?.*…", line) for line in shown)


def test_a_dumb_terminal_gets_plain_lines() -> None:
    text = text_of_a_run(80, "dumb")
    assert "\x1b" not in text
    assert text.splitlines()[0] == "12 cells to measure"
