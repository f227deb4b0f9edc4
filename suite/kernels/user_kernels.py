"""Kernels of a user's own, named beside the catalog's variants by file or by function.

    --variants flex,./my_kernel.py,./my_kernel.py?block=64,my_package.kernels:prepare

Nothing is imported here: lanes do that. A file is read, so that a mistake is refused before
anything is measured, and so that results name the code that was measured.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec

from suite.failures import BadRequest
from variants.catalog import CATALOG, Variant

_SOURCES = {".cpp", ".cc", ".cu", ".cuh", ".h", ".hpp"}


class UserKernel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel as it was named on the command line, and the digest of its code."""

    word: str
    digest: str

    @property
    def name(self) -> str:
        """What tables call it: the file's name or the function, with the options."""
        place, mark, options = self.word.partition("?")
        return f"{Path(place).name if '/' in place else place}{mark}{options}"

    @property
    def variant(self) -> Variant:
        """It as a variant that lanes can import."""
        place, _, options = self.word.partition("?")
        return Variant(
            self.name,
            place if ":" in place else str(Path(place).resolve()),
            options={name: _value(text) for name, text in parse_qsl(options)},
            device="none",
            compiles="each shape",
        )


def is_user_kernel(word: str) -> bool:
    """Return whether a word of --variants is no name of the catalog but names code."""
    place = word.partition("?")[0]
    return place.endswith(".py") or "/" in place or ":" in place


def read_kernel(word: str, option: str = "--variants") -> UserKernel:
    """Return the kernel that a word names. Raises BadRequest for what can't be one."""
    place, mark, options = word.partition("?")
    if mark and not parse_qsl(options, strict_parsing=False):
        raise BadRequest(f"{option} {word}: give options such as ?block=64&warps=4")
    file, function = _file_and_function(place, f"{option} {word}")
    _check(file, function, f"{option} {word}")
    return UserKernel(word, _digest(file))


def variants_beside(kernels: Sequence[UserKernel]) -> tuple[Variant, ...]:
    """Return the catalog's variants and those of the user."""
    return (*CATALOG, *(kernel.variant for kernel in kernels))


def check_unchanged(kernels: Iterable[UserKernel], option: str) -> None:
    """Raise BadRequest for a kernel whose code is not what was measured."""
    for kernel in kernels:
        if read_kernel(kernel.word, option).digest != kernel.digest:
            raise BadRequest(
                f"{option}: {kernel.word} has changed since; start a new run without --resume"
            )


def _file_and_function(place: str, what: str) -> tuple[Path, str]:
    """Return the file of a kernel and the name of its function."""
    if ":" not in place:
        file = Path(place)
        if file.suffix != ".py":
            raise BadRequest(f"{what}: give a Python file, such as ./my_kernel.py")
        if not file.is_file():
            raise BadRequest(f"{what}: no such file")
        return file, "prepare"
    module, _, function = place.partition(":")
    found = _file_of_module(module)
    if found is None or not function:
        raise BadRequest(
            f"{what}: give package.module:function of an installed package, or of a folder that "
            "the variable PYTHONPATH names"
        )
    return found, function


def _file_of_module(name: str) -> Path | None:
    """Return the file of a module, without importing its packages."""
    folders: Sequence[str] | None = None
    spec = None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, folders)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
    return Path(spec.origin) if spec and spec.origin else None


def _check(file: Path, function: str, what: str) -> None:
    """Raise BadRequest for a file that is no Python, or that does not define the function."""
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except (OSError, SyntaxError, ValueError) as error:
        raise BadRequest(f"{what}: {error}") from None
    if function not in set(_defined(tree)):
        raise BadRequest(
            f"{what}: it defines no {function}; a kernel has {function}(spec), which returns a "
            "function of q, k, v and slopes (docs/your-kernel.md)"
        )


def _defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines, assigns or imports at its top level."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
                yield from (alias.asname or alias.name for alias in aliases)


def _digest(file: Path) -> str:
    """Return a digest of a kernel's file and of the C++ and CUDA sources beside it."""
    digest = hashlib.blake2b(file.read_bytes(), digest_size=10)
    for source in sorted(each for each in file.parent.iterdir() if each.suffix in _SOURCES):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()


def _value(text: str) -> str | int | float | bool:
    """Return an option's value: a number, true or false, or else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool) else text
