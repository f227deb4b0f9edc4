"""NVML's Python bindings, called so that nothing about them can end a command.

The package nvidia-ml-py brings the module `pynvml`. Other packages bring other modules of that
name, which may fail at import, lack functions, or take other arguments.
"""

import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

_T = TypeVar("_T")
_LOG = logging.getLogger("alibi_bench")
REMEDY = "pip uninstall pynvml, then pip install nvidia-ml-py"
_past_warnings: list[str] = []


class NoNvml(Exception):  # noqa: N818 - a state of the machine
    """NVML does not give something; the text says why, and what helps if the module is at fault."""


def bindings() -> Any:
    """Return the module `pynvml`. Raises NoNvml where it can't be imported."""
    try:
        return importlib.import_module("pynvml")
    except Exception as error:  # noqa: BLE001 - another package's module may raise anything
        raise NoNvml(_misfit(error)) from None


@contextmanager
def open_nvml() -> Iterator[Any]:
    """Open NVML and yield its bindings. Raises NoNvml where it can't be opened.

    Where the module is at fault, here or in `read`, the logger `alibi_bench` says so once.
    """
    try:
        pynvml = bindings()
    except NoNvml as error:
        _log_misfit(str(error))
        raise
    read(lambda: pynvml.nvmlInit())  # noqa: PLW0108 - a missing function fails inside
    try:
        yield pynvml
    finally:
        with suppress(NoNvml):
            read(lambda: pynvml.nvmlShutdown())  # noqa: PLW0108 - as above


def read(call: Callable[[], _T]) -> _T:
    """Return what a call of the bindings gives. Raises NoNvml where the driver or they fail."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - bindings of another version may raise anything
        if type(error).__name__.startswith("NVMLError"):
            raise NoNvml(f"NVML: {error}") from None
        _log_misfit(_misfit(error))
        raise NoNvml(_misfit(error)) from None


def text(value: str | bytes) -> str:
    """Return a name or version; old bindings give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _misfit(error: Exception) -> str:
    words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"the module pynvml does not fit ({words}): {REMEDY}"


def _log_misfit(reason: str) -> None:
    if not _past_warnings:
        _past_warnings.append(reason)
        _LOG.warning("NVML is not read in full: %s", reason)
