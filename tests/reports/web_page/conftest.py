"""What tests of pages share: Chromium and a page of two devices, started and written once."""

from collections.abc import Iterator
from typing import Any

import pytest

from reports.web_page import write_page
from tests.reports.web_page.browser import severe_errors, show, start, write_index
from tests.reports.web_page.page_results import two_devices


@pytest.fixture
def _with_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page be written as far as its refusals where the extra is not installed."""
    monkeypatch.setattr(write_page, "find_spec", lambda _name: object())


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start Chromium, and end it with the tests."""
    driver = start()
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page on disk, of two devices."""
    return write_index(two_devices(), tmp_path_factory.mktemp("page"))


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    """Open the page, and say afterwards that the console has no error."""
    show(chromium, address, "desktop", "light")
    yield chromium
    assert severe_errors(chromium) == []
