"""The code that goes to the nodes: a folder with what `run` needs and nothing else."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from suite.conditions.measured_code import write_note
from suite.conditions.temporary import owned_folder
from suite.fleet.ray.on_node.node_run import COUNT, count_files
from variants.host.installation import FOLDER, IS_INSTALLED

CONTENT: Sequence[str] = (
    "alibi_bench",
    "reports",
    "suite",
    "variants",
    "pyproject.toml",
    "run_bench.py",
)
"""What of a checkout is shipped; of an installed package it is the package."""

PROGRAM: Sequence[str] = ("-m", "alibi_bench")
DEVICES_PROGRAM: Sequence[str] = ("-m", f"{__package__}.on_node.devices")


@contextmanager
def shipment() -> Iterator[Path]:
    """Yield a folder with the code, for as long as the block runs.

    It has no git history, so that a note in it says of which commit it is.
    """
    root = FOLDER.parent if IS_INSTALLED else FOLDER
    names = (FOLDER.name,) if IS_INSTALLED else CONTENT
    with owned_folder("alibi-bench-shipment-") as folder:
        for name in names:
            source = root / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.so")
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copy(source, folder / name)
        if not IS_INSTALLED:
            write_note(folder)
        (folder / COUNT).write_text(str(count_files(folder)))
        yield folder
