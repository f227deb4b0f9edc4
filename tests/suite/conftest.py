"""What the tests of the measuring share."""

import gc
import os
import time
from collections.abc import Iterator

import pytest
import torch

from tests.suite.fates import OWNER, processes_of


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Spare many small calls the wait for a second core that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small_heap() -> Iterator[None]:
    """Spare each collection of garbage, of which weighing makes two, all that other tests made."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def no_lane_is_left(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Whatever a test does, no process that was started for it outlives it."""
    owner = f"{os.getpid()} {request.node.nodeid}"
    monkeypatch.setenv(OWNER, owner)
    yield
    deadline = time.monotonic() + 60
    while processes_of(owner) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(owner) == []
