"""A pytest plugin: `pytest suite` takes each turn as it is, on a machine with other work too."""

import pytest

from tests.fakes.in_process import repeat_no_turn


def pytest_configure(config: pytest.Config) -> None:
    """Repeat no turn until the session ends."""
    monkeypatch = pytest.MonkeyPatch()
    config.add_cleanup(monkeypatch.undo)
    repeat_no_turn(monkeypatch)
