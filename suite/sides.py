"""The two sides of a comparison: two versions of the variants, or of the interpreter under them.

The suite is this tree's on both sides, so that nothing but what is compared differs.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from suite.handle import LAUNCH, Launch
from suite.machine import ROOT
from variants.catalog import CATALOG, Variant
from variants.software import PROVIDERS

_PREFIX = "alibi-bench-side-"
_ASK_LIMIT_S = 120.0
_CATALOG = """
import json
from variants.catalog import CATALOG
print(json.dumps([
    [v.name, v.module, v.answers, dict(getattr(v, "options", {})), getattr(v, "device", "any")]
    for v in CATALOG
]))
"""
_SOFTWARE = f"""
import json, sys
from importlib.metadata import PackageNotFoundError, version
import torch, msgspec, psutil, pynvml
found = {{}}
for name in {PROVIDERS!r}:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = "absent"
print(json.dumps(found))
"""


class NoSide(Exception):  # noqa: N818 - the user's mistake, not the program's
    """A side that can't be set up; the text says why and what would help."""


class Side(NamedTuple):
    """One side: what it is in words, how its lanes are started, and which variants it has."""

    what: str
    launch: Launch
    variants: dict[str, Variant]
    software: dict[str, str]


def head(software: dict[str, str], what: str = "this tree") -> Side:
    """Return this tree's side."""
    return Side(what, LAUNCH, {variant.name: variant for variant in CATALOG}, software)


@contextmanager
def of_reference(reference: str, software: dict[str, str]) -> Iterator[Side]:
    """Check a git reference out beside this tree, for as long as the block runs.

    Raises NoSide where there is no git repository or no such commit in it.
    """
    commit = _commit(reference)
    _remove_what_is_left_over()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    tree = folder / "tree"
    try:
        _git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        if not (tree / "variants" / "catalog.py").exists():
            raise NoSide(f"--base {reference}: {commit[:12]} has no variants/catalog.py")
        (folder / "variants").symlink_to(tree / "variants")
        (folder / "suite").symlink_to(ROOT / "suite")
        launch = Launch(LAUNCH.command, folder)
        variants = _catalog_of(launch, f"--base {reference}")
        yield Side(f"{reference} ({commit[:12]})", launch, variants, software)
    finally:
        _remove(folder)


def of_python(executable: str) -> Side:
    """Return the side of another interpreter, and so of its torch, over this tree's variants.

    Raises NoSide where it can't be run or lacks what a lane imports.
    """
    found = shutil.which(executable)
    if found is None:
        raise NoSide(f"--base-python {executable}: no such program; name an interpreter")
    launch = Launch((found, "-m", "suite.lane"), ROOT)
    software = json.loads(_asked(launch, _SOFTWARE, f"--base-python {executable}"))
    words = ", ".join(f"{name} {version}" for name, version in software.items())
    variants = {variant.name: variant for variant in CATALOG}
    return Side(f"{executable} ({words})", launch, variants, software)


def _commit(reference: str) -> str:
    try:
        _git("rev-parse", "--git-dir")
    except NoSide:
        raise NoSide(f"--base {reference}: this is no git repository; use --base-python") from None
    try:
        return _git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}"
        )
    except NoSide:
        raise NoSide(
            f"--base {reference}: git knows no such commit here; fetch it, or see `git branch -a`"
        ) from None


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", ROOT, *words], capture_output=True, text=True, check=True
        )
    except OSError as error:
        raise NoSide(f"git: {error.strerror}; install git") from None
    except subprocess.CalledProcessError as error:
        raise NoSide(f"git {words[0]}: {error.stderr.strip() or 'failed'}") from None
    return done.stdout.strip()


def _catalog_of(launch: Launch, option: str) -> dict[str, Variant]:
    rows = json.loads(_asked(launch, _CATALOG, option))
    return {row[0]: Variant(*row) for row in rows}


def _asked(launch: Launch, code: str, option: str) -> str:
    """Return what a side's interpreter prints, run in the side's folder."""
    command = [launch.command[0], "-c", code]
    try:
        done = subprocess.run(
            command,
            cwd=launch.folder,
            capture_output=True,
            text=True,
            timeout=_ASK_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoSide(f"{option}: {error}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exited with {done.returncode}"])[-1]
        raise NoSide(
            f"{option}: {last}; it needs what lanes import: torch, msgspec, psutil, nvidia-ml-py"
        )
    return done.stdout.strip().splitlines()[-1]


def _remove_what_is_left_over() -> None:
    """Remove the worktrees of runs that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = re.match(rf"{_PREFIX}(\d+)-", left.name)
        if owner and not Path("/proc", owner[1]).exists():
            _remove(left)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _git("worktree", "prune")
