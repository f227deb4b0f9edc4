"""A finding: what keeps a results file from being published, and how to mend it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Finding(NamedTuple):
    """What is wrong with a results file, in words, and the step that mends it."""

    what: str
    mend: str


def report(path: Path, findings: Sequence[Finding]) -> str:
    """Return a file's findings for people, each with its remedy in a line of its own."""
    if not findings:
        return f"{path}: nothing is wrong with it"
    count = f"{len(findings)} thing{'s' * (len(findings) != 1)} to mend"
    lines = (f"! {finding.what}\n  -> {finding.mend}" for finding in findings)
    return "\n".join([f"{path}: {count}", *lines])
