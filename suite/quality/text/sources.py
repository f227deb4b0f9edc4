"""Which files are read: the Python sources of three packages that torch requires, or a folder's.

sympy, networkx and mpmath (all BSD) come with every installation of torch, so the text needs no
download, and their versions are written into the results.
"""

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from suite.failures import BadRequest

PACKAGES = ("sympy", "networkx", "mpmath")
TEXT_SUFFIXES = (".py", ".txt", ".md", ".rst")
NOT_READ = {"tests", "test", "benchmarks"}
"""Folders of tests and benchmarks repeat themselves, which makes them easy to predict."""

FEWEST_CHARACTERS = 200
HELD_OUT_SHARE = 10


class SourceFile(NamedTuple):
    """A file's name, by which it is held out or not, and its text."""

    name: str
    text: str

    @property
    def is_held_out(self) -> bool:
        """Whether no model learns from it: so for one file of ten, by a hash of its name."""
        digest = hashlib.sha256(self.name.encode()).hexdigest()
        return int(digest, 16) % HELD_OUT_SHARE == 0


def package_versions() -> dict[str, str]:
    """Return the versions of the packages whose sources are the default text."""
    return {name: version(name) for name in PACKAGES}


def package_files() -> list[SourceFile]:
    """Return the sources of the packages, sorted by package and name."""
    files: list[SourceFile] = []
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise BadRequest(f"the text is of {name}, which is missing: pip install {name}")
        files += _files_under(Path(spec.origin).parent, f"{name}/", (".py",))
    return files


def folder_files(folder: Path) -> list[SourceFile]:
    """Return the text files under a folder, sorted by name.

    Raises BadRequest for what is no folder, and for one in which no file or every file is held out.
    """
    if not folder.is_dir():
        raise BadRequest(f"--text {folder}: not a folder; name one that has text files in it")
    files = _files_under(folder, "", TEXT_SUFFIXES)
    held_out = sum(file.is_held_out for file in files)
    if not 0 < held_out < len(files):
        raise BadRequest(
            f"--text {folder}: {len(files)} files of at least {FEWEST_CHARACTERS} characters with "
            f"{', '.join(TEXT_SUFFIXES)}, {held_out} of them held out; give 30 or more files"
        )
    return files


def digest_of(files: list[SourceFile]) -> str:
    """Return a digest of the names and texts of files."""
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(f"{file.name}\0{file.text}\0".encode())
    return digest.hexdigest()


def _files_under(root: Path, prefix: str, suffixes: tuple[str, ...]) -> list[SourceFile]:
    files = []
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*")}
    for name, path in sorted(paths.items()):
        if path.suffix not in suffixes or not path.is_file() or NOT_READ & set(name.split("/")):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if len(text) >= FEWEST_CHARACTERS:
            files.append(SourceFile(prefix + name, text))
    return files
