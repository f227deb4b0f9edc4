"""A pytest plugin: `pytest suite` with lanes that compute nothing, of which flex declines 128."""

import pytest

from tests.fakes.in_process import start_invented_lanes_in_process
from variants.catalog import BY_NAME


def pytest_configure(config: pytest.Config) -> None:
    """Let pools start invented lanes until the session ends."""
    monkeypatch = pytest.MonkeyPatch()
    config.add_cleanup(monkeypatch.undo)
    declines = (BY_NAME["flex"].module, 128, "Prepare", "unsupported")
    start_invented_lanes_in_process(monkeypatch, [declines])
