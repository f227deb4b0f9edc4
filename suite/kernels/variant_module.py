"""Import of a variant's module: by its name, or a user's own by its file or its function."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def variant_module(source: str) -> Any:
    """Return the module of a variant, whose function `prepare` makes its attention.

    `source` is a module's name; or the path of a file, which may import modules of its folder; or
    "folder:package.module:function", where the function stands for `prepare` and the package is
    imported from the folder. Raises ImportError where the package is another's.
    """
    if source.endswith(".py"):
        return _from_file(Path(source))
    if ":" not in source:
        return importlib.import_module(source)
    folder, name, function = source.rsplit(":", 2)
    _add_to_path(folder)
    module = importlib.import_module(name)
    if not Path(str(module.__file__)).resolve().is_relative_to(folder):
        raise ImportError(f"{name} is {module.__file__} here, and not of {folder}")
    return SimpleNamespace(prepare=getattr(module, function))


def short_name(source: str) -> str:
    """Return what a message calls a variant's module: its last part, or the file's name."""
    return Path(source).name if source.endswith(".py") else source.rpartition(".")[2]


def _from_file(path: Path) -> ModuleType:
    """Import a file once a process."""
    name = f"user_kernel_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _add_to_path(str(path.parent))
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _add_to_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.append(folder)
