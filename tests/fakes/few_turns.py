"""Races of few turns, where the lanes are processes and the race itself is not what is tested.

A pytest plugin (-p tests.fakes.few_turns), and a way to run a program:
python -m tests.fakes.few_turns PROGRAM WORDS...
"""

import runpy
import sys

import pytest

from tests.fakes.in_process import take_few_turns


def pytest_configure(config: pytest.Config) -> None:
    """Let races be short until pytest ends."""
    monkeypatch = pytest.MonkeyPatch()
    config.add_cleanup(monkeypatch.undo)
    take_few_turns(monkeypatch)


if __name__ == "__main__":
    take_few_turns(pytest.MonkeyPatch())
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
