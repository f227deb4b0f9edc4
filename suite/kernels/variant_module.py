"""Import of a variant's module: by its name, or a user's own by its file or its function."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def variant_module(source: str) -> Any:
    """Return the module of a variant, whose function `prepare` makes its attention.

    `source` is a module's name; the path of a file, beside which its own modules may lie; or
    "package.module:function", where the function stands for `prepare`.
    """
    if source.endswith(".py"):
        return _from_file(Path(source))
    name, _, function = source.partition(":")
    module = importlib.import_module(name)
    if not function:
        return module
    return SimpleNamespace(**{**vars(module), "prepare": getattr(module, function)})


def _from_file(path: Path) -> ModuleType:
    """Import a file once a process."""
    name = f"user_kernel_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(path.parent))
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
