"""What holds for every test: one marked gpu is skipped where there is none, NVML can be faked."""

from typing import Any

import pynvml
import pytest

from tests.fakes.nvml import FakeNvml, Library


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked gpu unless torch can use one."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a gpu, and torch can use none here"))


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Return a function that puts a fake library where pynvml keeps the real one."""

    def put(**changes: Any) -> Library:
        library = Library(**changes)
        monkeypatch.setattr(pynvml, "nvmlLib", library)
        # pynvml remembers function pointers, which would still be those of another library.
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        monkeypatch.setattr(pynvml, "_nvmlLib_refcount", 0)
        return library

    return put
