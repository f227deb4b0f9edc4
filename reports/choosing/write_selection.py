"""The file of a selection, read and written: in one piece, and by one `choose` at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from suite.records.store import NotWritten
from variants.selection.files import BadSelection, is_there, read
from variants.selection.schema import Selection


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others out while a selection is read, added to and written again.

    Where the folder can't be had, nothing is kept in it and nobody needs to be kept out.
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
    """Return the first selection that there is, and a line for each that was refused."""
    refused: list[str] = []
    for path in paths:
        if is_there(path):
            try:
                return read(path), refused
            except BadSelection as error:
                refused.append(str(error))
    return None, refused


def write(path: Path, selection: Selection) -> None:
    """Put a selection in place of the file at once, so that nobody ever reads half of one.

    Raises NotWritten where it can't be written.
    """
    text = msgspec.json.format(msgspec.json.encode(selection), indent=1) + b"\n"
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
