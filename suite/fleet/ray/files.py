"""The results files of a fleet: they grow in its folder, and end in that of their hardware key."""

import os
from pathlib import Path

from suite.fleet.ray.jobs import Job
from suite.records.store import StoreError, read


def path_of(folder: Path, job: Job) -> Path:
    """Return the path of a job's file while it grows."""
    return folder / f"{job.name}.jsonl"


def is_done(folder: Path, job: Job) -> bool:
    """Whether a job's file is whole, and in the folder of its hardware key."""
    return any(folder.glob(f"*/{job.name}.jsonl"))


def put_away(path: Path) -> str | None:
    """Move a file that is whole into the folder of its hardware key; return why it can't be."""
    try:
        key = read(path).header.hardware.key
    except StoreError as error:
        return str(error)
    folder = path.parent / key
    folder.mkdir(exist_ok=True)
    path.rename(folder / path.name)
    return None


def so_far(path: Path) -> bytes:
    """Return the whole lines of a file that was begun, and cut off an unfinished one."""
    if not path.exists():
        return b""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    os.truncate(path, len(whole))
    return whole
