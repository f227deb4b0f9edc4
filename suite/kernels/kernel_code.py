"""The code of a user's kernel, read and not imported: what it defines, and a digest of it."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

_SOURCES = {".cpp", ".cc", ".cxx", ".cu", ".cuh", ".h", ".hpp", ".inl"}


def defines(file: Path, name: str) -> bool:
    """Return whether a file may define a name at its top level.

    Raises SyntaxError or ValueError for what is no Python, and OSError.
    """
    names = set(_names(ast.parse(file.read_bytes(), filename=str(file)).body))
    return name in names or "*" in names


def digest_of(file: Path) -> str:
    """Return a digest of a kernel's code.

    That is its file, the Python files that it imports from its own folder, and the C++ and CUDA
    sources there.
    """
    folder, digest = file.parent, hashlib.blake2b(digest_size=10)
    sources = {each for each in folder.iterdir() if each.suffix in _SOURCES and each.is_file()}
    for source in sorted(sources | _with_imports(file)):
        digest.update(f"{source.relative_to(folder)}\n".encode() + source.read_bytes())
    return digest.hexdigest()


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements define, assign or import, outside of functions."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
                yield from (alias.asname or alias.name for alias in aliases)
            case ast.Assign() | ast.AnnAssign():
                targets = (each for each in ast.walk(node) if isinstance(each, ast.Name))
                yield from (each.id for each in targets if isinstance(each.ctx, ast.Store))
            case ast.If(body=inner, orelse=other):
                yield from _names([*inner, *other])
            case ast.Try(body=inner, handlers=handlers, orelse=other, finalbody=last):
                yield from _names([*inner, *other, *last])
                for handler in handlers:
                    yield from _names(handler.body)


def _with_imports(file: Path) -> set[Path]:
    """Return a file and the files of its folder that it imports, and those that they import."""
    files, pending = {file}, [file]
    while pending:
        imported = set(_imports_of(pending.pop(), file.parent)) - files
        files |= imported
        pending += imported
    return files


def _imports_of(file: Path, folder: Path) -> Iterator[Path]:
    """Yield the Python files below a folder that a file imports by name."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = f"{node.module}." if node.module else ""
            names = [node.module or "", *(start + alias.name for alias in node.names)]
        else:
            continue
        for name in names:
            for parent in (folder, file.parent):
                path = parent.joinpath(*name.split("."))
                for source in (path.with_suffix(".py"), path / "__init__.py"):
                    if name and source.is_file():
                        yield source
