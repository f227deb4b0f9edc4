"""What output goes to: a terminal of some width, or a pipe; and whether it shows bold text."""

import os
import sys
from typing import NamedTuple

USUAL_WIDTH, LEAST_WIDTH = 80, 40


class Screen(NamedTuple):
    """The columns that output may take, and whether bold text shows as such."""

    width: int = USUAL_WIDTH
    bold: bool = False


IN_A_PIPE = Screen()


def screen() -> Screen:
    """Return what stdout is: COLUMNS wide, or as wide as the terminal, or 80 columns in a pipe.

    Text is bold in a terminal alone, and not where NO_COLOR is set (https://no-color.org) or TERM
    is dumb.
    """
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    named = os.environ.get("COLUMNS", "")
    width = int(named) if named.isdecimal() else 0
    if not width and is_terminal:
        width = os.get_terminal_size(sys.stdout.fileno()).columns
    return Screen(max(width or USUAL_WIDTH, LEAST_WIDTH), is_terminal and takes_styles())


def takes_styles() -> bool:
    """Whether the environment lets a terminal be sent styles: no NO_COLOR, and TERM not dumb."""
    return not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Whether the terminal can't move its cursor: TERM is dumb or not set."""
    return os.environ.get("TERM", "dumb") == "dumb"
