"""What holds for every test: gpu marks, a faked NVML, and no selection but the test's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

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


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give all tests, and the processes that they start, an empty cache in place of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


class Folders(NamedTuple):
    """Where selections are looked for."""

    of_user: Path
    committed: Path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folders]:
    """Give two folders that don't exist yet, to a process that has read and said nothing so far."""
    from tests.variants.selections import forget
    from variants.selection import files

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "COMMITTED", tmp_path / "committed")
    forget()
    yield Folders(files.user_folder(), tmp_path / "committed")
    forget()


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
