"""The results files of a fleet: they grow in its folder, and end in that of their hardware key."""

import os
import re
from pathlib import Path

from suite.fleet.device_files import device_path
from suite.fleet.ray.jobs import Job
from suite.fleet.ray.on_node.node_run import NodeDevice, PartialFile
from suite.records.store import StoreError, read


def path_of(folder: Path, job: Job, device: str) -> Path:
    """Return the path of a job's file of a device while it grows."""
    return device_path(folder / f"{job.name}.jsonl", device)


def is_done(folder: Path, job: Job) -> bool:
    """Whether a job's files lie in the folders of their hardware keys, and lack no cell."""
    ended = _paths_by_key(folder, job)
    return bool(ended) and not _of_job(folder, job) and missing_cells(folder, job) == 0


def missing_cells(folder: Path, job: Job) -> int:
    """Return how many cells of their plans a job's files in folders of hardware keys lack."""
    return sum(read(path).missing() for path in _paths_by_key(folder, job))


def take_back(folder: Path, job: Job) -> None:
    """Move the files of a job that is not done back to where they grow."""
    for path in _paths_by_key(folder, job):
        path.rename(folder / path.name)


def partial_files(folder: Path, job: Job) -> list[PartialFile]:
    """Return the whole lines of the files that a job began, and cut off what is unfinished."""
    files = []
    for path in _of_job(folder, job):
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            path.unlink()
            continue
        os.truncate(path, len(whole))
        header = read(path).header
        files.append(PartialFile(NodeDevice(header.plan.device, header.hardware.key), whole))
    return files


def put_away(folder: Path, job: Job) -> str | None:
    """Move a job's files into the folders of their hardware keys; return why one can't be."""
    paths = _of_job(folder, job)
    if not paths:
        return "the node sent no results"
    for path in paths:
        try:
            key = read(path).header.hardware.key
        except StoreError as error:
            return str(error)
        (folder / key).mkdir(exist_ok=True)
        path.rename(folder / key / path.name)
    return None


def _paths_by_key(folder: Path, job: Job) -> list[Path]:
    return [path for each in folder.iterdir() if each.is_dir() for path in _of_job(each, job)]


def _of_job(folder: Path, job: Job) -> list[Path]:
    """Return the files of a job in a folder: one, or one for each GPU."""
    name = re.compile(rf"{re.escape(job.name)}(-cuda\d+)?\.jsonl")
    return sorted(path for path in folder.iterdir() if name.fullmatch(path.name))
