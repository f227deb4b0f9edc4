"""Another commit checked out beside this tree, for as long as it is needed and no longer."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from suite.conditions.policy import ROOT
from suite.failures import BadRequest

_PREFIX = "alibi-bench-side-"
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NoCommit(BadRequest):
    """A reference that can't be checked out; the text says why and what would help."""


class Worktree(NamedTuple):
    """A commit, the tree that has it, and the folder of that tree, in which there is room."""

    commit: str
    tree: Path
    folder: Path


@contextmanager
def worktree(reference: str) -> Iterator[Worktree]:
    """Check a git reference out, for as long as the block runs.

    Raises NoCommit where there is no git repository or no such commit in it.
    """
    commit = _commit(reference)
    _remove_what_is_left_over()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        tree = folder / "tree"
        _git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        yield Worktree(commit, tree, folder)
    finally:
        _remove(folder)


def _commit(reference: str) -> str:
    try:
        _git("rev-parse", "--git-dir")
    except NoCommit as error:
        if "not a git repository" not in str(error):
            raise
        raise NoCommit("this is no git repository; use --base-python") from None
    try:
        return _git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}"
        )
    except NoCommit:
        raise NoCommit("git knows no such commit here; fetch it, or see `git branch -a`") from None


def _git(*words: str) -> str:
    try:
        process = subprocess.Popen(
            ["git", "-C", ROOT, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise NoCommit(f"git: {error.strerror}; install git") from None
    with process:
        try:
            said, complaint = process.communicate()
        except BaseException:
            # All of it: what git has started would go on to fill a folder that is being removed.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if process.returncode:
        raise NoCommit(f"git {words[0]}: {complaint.strip() or 'failed'}")
    return said.strip()


def _remove_what_is_left_over() -> None:
    """Remove the worktrees of runs that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = re.match(rf"{_PREFIX}(\d+)-", left.name)
        if owner and not Path("/proc", owner[1]).exists():
            _remove(left)


def _remove(folder: Path) -> None:
    with _signals_ignored():
        with suppress(NoCommit):  # a worktree whose making was interrupted is locked for good
            _git("worktree", "unlock", str(folder / "tree"))
        shutil.rmtree(folder, ignore_errors=True)
        _git("worktree", "prune")


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Hear no interruption: what is undone here is quick, and must be undone to its end."""
    before = {stop: signal.signal(stop, signal.SIG_IGN) for stop in _STOPS}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)
