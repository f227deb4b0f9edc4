"""What the tests of the measuring share."""

import time
from collections.abc import Iterator

import pytest
import torch

from tests.suite.fates import lanes


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Spare many small calls the wait for a second core that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_lane_is_left() -> Iterator[None]:
    """Whatever a test does, no lane outlives it."""
    yield
    deadline = time.monotonic() + 10
    while lanes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lanes() == []
