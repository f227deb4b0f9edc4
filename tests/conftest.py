"""What holds for every test: gpu marks, a faked NVML, and no selection but the test's own."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pynvml
import pytest

from tests.effort import FULL, make_heavy_what_repeats
from tests.fakes.nvml import FakeNvml, Library
from variants.catalog import CATALOG

_COMPILED = {variant.module for variant in CATALOG if variant.builds}
_COMPILING_NAMES = {variant.name for variant in CATALOG if variant.module in _COMPILED}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --full."""
    parser.addoption(
        "--full",
        action="store_true",
        help="Compile graphs with inductor, and draw all examples; otherwise graphs are traced and "
        "run uncompiled, and a few examples are drawn.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell modules that are yet to be imported of --full; a worker computes with one thread.

    Tests interrupt and hang up on processes, which would inherit that a signal is ignored.
    """
    if config.getoption("--full"):
        os.environ[FULL] = "1"
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what runs behind it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as nohup starts what it runs
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _compiler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch.compile trace graphs and run them uncompiled, unless a test wants inductor.

    What a graph computes is the same, and a graph costs seconds less. Tests marked
    inductor or gpu get it, and with --full all do.
    """
    real = any(map(request.node.get_closest_marker, ("inductor", "gpu")))
    if request.config.getoption("--full") or real:
        return
    monkeypatch.setattr("variants.compiled.torch_compile.BACKEND", _run_uncompiled)


def _run_uncompiled(graph: Any, _inputs: Any, **_options: Any) -> Any:
    return graph.forward


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what compiles or repeats, and skip what is marked gpu unless torch can use one."""
    make_heavy_what_repeats(items)
    for item in items:
        callspec = getattr(item, "callspec", None)
        words = set(callspec.id.replace("[", "-").split("-")) if callspec else set()
        compiles = words & _COMPILING_NAMES or item.path.parent.name in {"compiled", "flex"}
        if compiles and not item.get_closest_marker("uncompiled"):
            item.add_marker("compiles")
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("drawn")
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a gpu, and torch can use none here"))


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give all tests, and the processes that they start, an empty cache in place of the user's.

    And no width of the user's terminal.

    Workers share it, so that the C++ kernel is built once.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "user-cache"))
        patch.delenv("COLUMNS", raising=False)
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


@pytest.fixture
def new_memory_is_nan() -> Iterator[None]:
    """Have torch fill the memory that it gives with NaN, so that what is not written shows."""
    import torch

    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
