"""A finding: what keeps a results file from being published, and how to mend it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from reports.text.paragraph import paragraph, shell_command
from reports.text.screen import Screen

_ARROW, _INDENT = "  -> ", "     "


class Finding(NamedTuple):
    """What is wrong with a results file, in words, and the step that mends it.

    `is_command` says that `mend` is a shell command and nothing else.
    """

    what: str
    mend: str
    is_command: bool = False


def report(path: Path, findings: Sequence[Finding], screen: Screen) -> str:
    """Return a file's findings for people, each with its remedy in a line of its own."""
    if not findings:
        return paragraph(f"{path}: nothing is wrong with it", screen.width, "  ")
    count = f"{len(findings)} thing{'s' * (len(findings) != 1)} to mend"
    parts = [paragraph(f"{path}: {count}", screen.width, "  ")]
    for finding in findings:
        parts.append(paragraph(f"! {finding.what}", screen.width, "  "))
        text = shell_command if finding.is_command else _words
        parts.append(text(finding.mend, screen.width, _ARROW, _INDENT))
    return "\n".join(parts)


def _words(text: str, width: int, first: str, hanging: str) -> str:
    return paragraph(text, width, hanging, first)
