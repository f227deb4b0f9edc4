"""Kernels of a user's own, named beside the catalog's variants by file or by function.

    --variants flex,./my_kernel.py,./my_kernel.py?block=64,my_package.kernels:prepare

Nothing is imported here: lanes do that. A file is read, so that a mistake is refused before
anything is measured, and so that results name the code that was measured (kernel_code).
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

import msgspec

from suite.failures import BadRequest
from suite.kernels.kernel_code import defines, digest_of
from variants.catalog import RACED, Variant


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
        """It as a variant that lanes can import (suite.kernels.variant_module)."""
        place, _, options = self.word.partition("?")
        code = _code_at(place, self.word)
        source = str(code.file) if code.module is None else f"{code.folder}:{code.module}"
        return Variant(self.name, source, options=_options(options, self.word), device="none")


class _Code(NamedTuple):
    """Where a kernel's code is: a file, or a module:function imported from a folder."""

    file: Path
    function: str
    folder: Path
    module: str | None = None


def check_name(name: str) -> None:
    """Raise ValueError for a variant's name that no catalog and no file of one's own can have."""
    if not re.fullmatch(r"[\w.:/@+?=&-]{1,200}", name) or name[0] in "+-@=?&":
        raise ValueError(f"variant {name[:40]!r} is not a name")


def is_user_kernel(word: str) -> bool:
    """Return whether a word of --variants is no name of the catalog but names code."""
    place = word.partition("?")[0]
    return place.endswith(".py") or "/" in place or ":" in place


def read_kernels(words: Iterable[str], option: str = "--variants") -> tuple[UserKernel, ...]:
    """Return the kernels that words name. Raises BadRequest for what can't be one."""
    kernels = tuple(read_kernel(word, option) for word in words)
    for kernel in kernels:
        alike = [other.word for other in kernels if other.name == kernel.name]
        if len(alike) > 1:
            raise BadRequest(f"{option} {', '.join(alike)}: give files of different names")
    return kernels


def read_kernel(word: str, option: str = "--variants") -> UserKernel:
    """Return the kernel that a word names. Raises BadRequest for what can't be one."""
    what = f"{option} {word}"
    if "," in word:
        raise BadRequest(f"{what}: a comma separates names; give a file whose path has none")
    place, mark, options = word.partition("?")
    if mark:
        _options(options, what)
    code = _code_at(place, what)
    try:
        has_function = defines(code.file, code.function)
    except (OSError, SyntaxError, ValueError) as error:
        raise BadRequest(f"{what}: {error}") from None
    if not has_function:
        raise BadRequest(
            f"{what}: it defines no {code.function}; a kernel has {code.function}(spec), which "
            "returns a function of q, k, v and slopes (docs/your-kernel.md)"
        )
    kernel = UserKernel(word, digest_of(code.file))
    try:
        check_name(kernel.name)
    except ValueError:
        raise BadRequest(
            f"{what}: give a name of letters, digits and ._-+, and options of letters and digits, "
            "200 characters at most"
        ) from None
    return kernel


def variants_beside(kernels: Sequence[UserKernel]) -> tuple[Variant, ...]:
    """Return the catalog's variants, the peers, and those of the user."""
    return (*RACED, *(kernel.variant for kernel in kernels))


def check_unchanged(kernels: Iterable[UserKernel], option: str) -> None:
    """Raise BadRequest for a kernel whose code is not what was measured."""
    for kernel in kernels:
        if read_kernel(kernel.word, option).digest != kernel.digest:
            raise BadRequest(
                f"{option}: {kernel.word} has changed since; start a new run without --resume"
            )


def _code_at(place: str, what: str) -> _Code:
    """Return where the code of a word without its options is. Raises BadRequest."""
    if place.endswith(".py") or ":" not in place:
        file = Path(place)
        if file.suffix != ".py":
            raise BadRequest(f"{what}: give a Python file, such as ./my_kernel.py")
        if not file.is_file():
            raise BadRequest(f"{what}: no such file")
        return _Code(file.resolve(), "prepare", file.resolve().parent)
    module, _, function = place.partition(":")
    file_of_module = _file_of(module)
    if file_of_module is None or not function.isidentifier():
        raise BadRequest(
            f"{what}: give package.module:function of an installed package, or of a folder that "
            "the variable PYTHONPATH names"
        )
    depth = module.count(".") + (file_of_module.name == "__init__.py")
    return _Code(file_of_module, function, file_of_module.parents[depth], place)


def _file_of(module: str) -> Path | None:
    """Return the file of a module, without importing its packages."""
    folders: Sequence[str] | None = None
    spec = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, folders) if part else None
        if spec is None:
            return None
        folders = spec.submodule_search_locations
    return Path(spec.origin).resolve() if spec and spec.origin else None


def _options(text: str, what: str) -> dict[str, str | float | bool]:
    """Return the arguments that follow a question mark. Raises BadRequest."""
    values: dict[str, str | float | bool] = {}
    for word in text.split("&") if text or "?" in what else ():
        name, mark, value = word.partition("=")
        if not name.isidentifier() or not mark or not value or name in values:
            raise BadRequest(f"{what}: give each option once, such as ?block=64&warps=4")
        values[name] = _value(value)
    return values


def _value(text: str) -> str | float | bool:
    """Return an option's value: a finite number, true or false, or else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return value if is_number else text
