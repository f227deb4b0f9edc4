"""Kernels are tested with one thread, with as many as cores here, and with more."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(params=[1, 2, 5], ids=lambda count: f"{count} threads")
def some_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Split keys among some threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)
