"""The command line with an empty cache, and the file of an invented tuning."""

from pathlib import Path

import pytest

from tests.reports.commands.choosing.command_line import ROOT, TIMES, Commands, write_file
from tests.reports.tunings import tuning


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The command line with an empty cache directory, in the project's folder."""
    monkeypatch.chdir(ROOT)
    return Commands(tmp_path / "cache", monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of an invented tuning."""
    return write_file(tmp_path / "tuning.jsonl", tuning(TIMES))
