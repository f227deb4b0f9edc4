"""Which code measures: a commit, or a digest of its files where no git tells of one."""

import hashlib
import subprocess
from pathlib import Path

import msgspec

_ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("suite", "variants")
_NOTE = "measured-code.json"
"""A file of a copy without git, which says of which commit the copy is."""


class MeasuredCode(msgspec.Struct, frozen=True):
    """The last commit that changed what a lane may run, and whether that has changed since.

    `digest` is that of the files. Without git `commit` is "tree-" and the digest.
    """

    commit: str
    uncommitted: bool
    digest: str


def measured_code() -> MeasuredCode:
    """Return the code of this process.

    A commit that changes docs, tests or tables alone is the same code.
    A copy is of the commit that `write_note` noted, if its files are those of the note.
    """
    digest = _digest()
    unnamed = MeasuredCode(f"tree-{digest}", uncommitted=False, digest=digest)
    if (_ROOT / _NOTE).exists():
        noted = _read_note()
        return noted if noted is not None and noted.digest == digest else unnamed
    if __name__.startswith("alibi_bench."):  # git would answer for a repository around the package
        return unnamed
    try:
        commit = _git("log", "-1", "--format=%H", "--", *_FOLDERS).strip()
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *_FOLDERS)
    except (OSError, subprocess.CalledProcessError):
        return unnamed
    return MeasuredCode(commit, bool(changed.strip()), digest) if commit else unnamed


def write_note(copy: Path) -> None:
    """Note in a copy of this code, which has no git, of which commit it is."""
    (copy / _NOTE).write_bytes(msgspec.json.encode(measured_code()))


def _read_note() -> MeasuredCode | None:
    try:
        return msgspec.json.decode((_ROOT / _NOTE).read_bytes(), type=MeasuredCode)
    except msgspec.DecodeError:
        return None


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", _ROOT, *words], capture_output=True, text=True, check=True)
    return done.stdout


def _digest() -> str:
    """Return a digest of all code that a lane may run: Python and C++ of suite and variants."""
    digest = hashlib.blake2b(digest_size=10)
    for file in sorted(
        file
        for folder in _FOLDERS
        for file in (_ROOT / folder).rglob("*")
        if file.suffix in {".py", ".cpp", ".h"}
    ):
        digest.update(file.read_bytes())
    return digest.hexdigest()
