"""What exists for a while: folders removed with their owner, and what ends with a block."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self


class EndsWithBlock:
    """Something with an `end`; as a context manager it is ended on leaving."""

    def end(self) -> None:
        """End it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()


def remove_tree(folder: Path) -> None:
    """Remove a folder; what can't be removed stays."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def owned_folder(prefix: str, remove: Callable[[Path], None] = remove_tree) -> Iterator[Path]:
    """Yield a new folder whose name is `prefix` and this process's number; remove it afterwards.

    Folders of the same prefix whose owner is gone, because it was killed, are removed first.
    """
    parent = Path(tempfile.gettempdir())
    for folder in parent.glob(f"{prefix}*"):
        owner = re.match(rf"{re.escape(prefix)}(\d+)-", folder.name)
        if owner and not Path("/proc", owner[1]).exists():
            remove(folder)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        remove(folder)
