"""Files of code in the user's cache, which nobody else may have written and which must be whole.

A library at a foreseeable path runs with the rights of whoever loads it. So it is loaded only from
a folder, and as a file, that belongs to this user and that no other may write to. A digest beside
it says whether its content is what was built: a disk that filled up leaves half a library.
"""

import hashlib
import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder(parent: Path, name: str) -> Path:
    """Return parent/name, made if it is missing; neither folder lets others write.

    Raises PermissionError where one of them belongs to another user, and OSError where it can't be
    made or is no folder.
    """
    for folder in (parent, parent / name):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
            raise PermissionError(f"{folder} belongs to another user, or is a link")
        if status.st_mode & _OTHERS_WRITE:
            folder.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS_WRITE)
    return parent / name


def is_whole(file: Path) -> bool:
    """Whether this user's file, which nobody else can write to, has the content of its digest."""
    content, digest = _own_content(file), _own_content(_digest_of(file))
    return content is not None and digest == _hash_of(content)


def store(built: Path, file: Path) -> None:
    """Move a finished file to its place, and its digest beside it, so that both outlast a crash."""
    built.chmod(0o700)
    digest = built.with_name("digest")
    digest.write_bytes(_hash_of(built.read_bytes()))
    digest.chmod(0o600)
    for written in (built, digest):
        with written.open("rb") as stream:
            os.fsync(stream.fileno())
    digest.replace(_digest_of(file))
    built.replace(file)


def _digest_of(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _hash_of(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _own_content(file: Path) -> bytes | None:
    """Return what a file of this user holds; None for one of another, a link, a pipe, or none."""
    try:
        # Without O_NONBLOCK the opening of a pipe would wait for somebody to write to it.
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(opened, "rb") as stream:  # noqa: PTH123 - it is a descriptor
        status = os.fstat(opened)
        is_own = status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE
        return stream.read() if is_own and stat.S_ISREG(status.st_mode) else None
