"""A git worktree of another commit, in a temporary folder that is removed afterwards."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from suite.conditions.policy import ROOT
from suite.conditions.temporary import owned_folder, remove_tree
from suite.failures import BadRequest
from variants.host.installation import IS_INSTALLED

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NoCommit(BadRequest):
    """A git reference can't be checked out; the text says why and what would help."""


class Worktree(NamedTuple):
    """A commit, the tree checked out from it, and the temporary folder that the tree is in."""

    commit: str
    tree: Path
    folder: Path


@contextmanager
def worktree(reference: str) -> Iterator[Worktree]:
    """Check a git reference out, for as long as the block runs.

    Raises NoCommit where there is no git repository or no such commit in it.
    """
    commit = _commit(reference)
    with owned_folder("alibi-bench-side-", _remove) as folder:
        tree = folder / "tree"
        _git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        yield Worktree(commit, tree, folder)


def _commit(reference: str) -> str:
    if IS_INSTALLED:
        raise NoCommit("this is an installed package and no git checkout; use --base-python")
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
            output, errors = process.communicate()
        except BaseException:
            # The whole group, because git's children would go on to fill the removed folder.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if process.returncode:
        raise NoCommit(f"git {words[0]}: {errors.strip() or 'failed'}")
    return output.strip()


def _remove(folder: Path) -> None:
    with _ignore_signals():
        with suppress(NoCommit):  # git leaves a worktree locked if its checkout was interrupted
            _git("worktree", "unlock", str(folder / "tree"))
        remove_tree(folder)
        _git("worktree", "prune")


@contextmanager
def _ignore_signals() -> Iterator[None]:
    """Ignore interruptions while the block runs: a removal is quick, and must be completed."""
    before = {stop: signal.signal(stop, signal.SIG_IGN) for stop in _STOPS}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)
