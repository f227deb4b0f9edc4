"""What output goes to: COLUMNS or the terminal decide on the width, NO_COLOR and TERM on bold."""

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = "from reports.text.screen import screen; print(*screen())"


def plain(**more: str) -> dict[str, str]:
    """Return an environment that says nothing of a terminal but `more`."""
    quiet = {"COLUMNS", "NO_COLOR", "TERM"}
    return {name: value for name, value in os.environ.items() if name not in quiet} | more


def in_a_pipe(environment: Mapping[str, str]) -> str:
    """Return what is said of a pipe."""
    words = [sys.executable, "-c", PROGRAM]
    return subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def in_a_terminal(environment: Mapping[str, str], columns: int = 0) -> str:
    """Return what is said of a terminal that is so wide, or says nothing of its width."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    with os.fdopen(ours, "rb") as terminal:
        subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, stdout=theirs, check=True
        )
        os.close(theirs)
        return terminal.read1(100).decode().strip()


def test_a_pipe_is_80_columns_wide_and_plain_unless_columns_says_otherwise() -> None:
    assert in_a_pipe(plain(TERM="xterm")) == "80 False"
    assert in_a_pipe(plain(TERM="xterm", COLUMNS="132")) == "132 False"


def test_a_terminal_without_columns_says_itself_how_wide_it_is() -> None:
    assert in_a_terminal(plain(TERM="xterm"), columns=97) == "97 True"
    assert in_a_terminal(plain(TERM="xterm"), columns=0) == "80 True"
    assert in_a_terminal(plain(TERM="xterm", COLUMNS="wide"), columns=97) == "97 True"


def test_a_width_too_small_to_read_is_not_taken() -> None:
    assert in_a_pipe(plain(COLUMNS="3")) == "40 False"


@pytest.mark.parametrize(
    ("environment", "is_bold"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_a_terminal_is_sent_bold_text_unless_it_is_dumb_or_the_user_wants_none(
    environment: dict[str, str], is_bold: bool
) -> None:
    assert in_a_terminal(plain(COLUMNS="90", **environment)) == f"90 {is_bold}"
