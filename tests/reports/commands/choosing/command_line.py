"""The commands of choosing with a cache directory of their own, and a tuning for them."""

from pathlib import Path

import pytest

from suite.records.store import Results
from tests.fakes.console import Exit, bench
from tests.records import write

ROOT = Path(__file__).parents[4]
KEY = "cpu-invented-2cores"
TIMES = {
    "eager": {512: 1.0, 1024: 4.0, 2048: 16.0},
    "flex": {512: 2.1, 1024: 4.4, 2048: 8.0},
}
SHAPE = ("--heads", "8", "--head-dim", "64")
TINY = ("--device", "cpu", "--lengths", "64,160", "--variants", "eager,sdpa_mask")


class Commands:
    """The command line with a cache directory of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache_file = folder / "alibi-bench" / "selections" / f"{KEY}.json"
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))

    def run(self, *words: object) -> Exit:
        """Run a command to its end."""
        return bench(*words)

    def output(self, *words: object) -> str:
        """Return what a command printed that went well."""
        done = self.run(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def refusal(self, *words: object) -> str:
        """Return the one line with which a command was refused."""
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (2, ""), done
        (line,) = done.stderr.splitlines()
        return line


def write_file(path: Path, file: Results) -> Path:
    """Write an invented tuning, and return its path."""
    return write(path, file.header, *file.records[1:])
