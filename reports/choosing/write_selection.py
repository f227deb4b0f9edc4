"""Reads and writes the file of a selection: atomically, and by one `choose` at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from suite.failures import BadRequest
from suite.records.store import NotWritten
from variants.selection.files import LARGEST_BYTES, BadSelection, is_there, read
from variants.selection.schema import Selection


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder, so that no other `choose` changes the selections in it.

    Where the folder can't be made or written, there is no lock: it can't hold a selection either.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def incumbent(paths: Iterable[Path]) -> tuple[Selection | None, list[str]]:
    """Return the first of the selections that can be read, and a line for each that can't.

    A path without a file is passed over.
    """
    refusals: list[str] = []
    for path in paths:
        if is_there(path):
            try:
                return read(path), refusals
            except BadSelection as error:
                refusals.append(str(error))
    return None, refusals


def losses(paths: Iterable[Path], before: Selection | None, new: Selection) -> list[str]:
    """Return a line for each selection but `before` that loses choices where `new` replaces it."""
    problems = {choice.problem for choice in new.choices}
    lines = []
    for path in paths:
        old, _ = incumbent([path])
        lost = sum(choice.problem not in problems for choice in old.choices) if old else 0
        if lost and old != before:
            lines.append(f"{path}: {lost} problems chosen before are dropped: --out has others")
    return lines


def write(path: Path, selection: Selection) -> None:
    """Replace the file by a selection, atomically: no reader ever sees a part of it.

    Raises BadRequest for one that no reader would take, and NotWritten if the file can't be
    written; both leave the file as it is.
    """
    text = msgspec.json.format(msgspec.json.encode(selection), indent=1) + b"\n"
    _refuse_unreadable(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise NotWritten(
            f"{path}: {error.strerror or error}; name another --out or XDG_CACHE_HOME"
        ) from None


def _refuse_unreadable(text: bytes) -> None:
    try:
        msgspec.json.decode(text, type=Selection)
    except msgspec.ValidationError as error:
        raise BadRequest(
            f"these results give a selection that can't be read again ({error}): "
            "leave out the file with that figure, or measure again"
        ) from None
    if len(text) > LARGEST_BYTES:
        raise BadRequest(
            f"these results give a selection of {len(text) >> 20} MiB, over the limit of "
            f"{LARGEST_BYTES >> 20}: choose from fewer files"
        )
