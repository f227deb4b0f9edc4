"""The two sides of a comparison, base and head: two commits' variants, or two interpreters.

Both sides run this tree's suite, so that only the variants, or only the interpreters, differ.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from suite.conditions.policy import ROOT
from suite.conditions.temporary import owned_folder
from suite.failures import BadRequest
from suite.kernels.user_kernels import UserKernel
from suite.lanes.handle import LAUNCH, Launch, environment
from suite.pairs.worktree import NoCommit, worktree
from variants.catalog import RACED, Variant
from variants.host.installation import INSTALLED
from variants.host.software import PROVIDERS

_ASK_LIMIT_S = 120.0
_CATALOG = """
import json
from variants import catalog
def device(v):
    return "none" if getattr(v, "package", "") else getattr(v, "device", "any")
print(json.dumps([
    [v.name, v.module, v.answers, dict(getattr(v, "options", {})), device(v)]
    for v in getattr(catalog, "RACED", catalog.CATALOG)
]))
"""
_SOFTWARE = f"""
import json
from importlib.metadata import PackageNotFoundError, version
import torch, msgspec, psutil, pynvml
import suite.lanes.lane
software = {{}}
for name in {PROVIDERS!r}:
    try:
        software[name] = version(name)
    except PackageNotFoundError:
        software[name] = "absent"
if torch.version.cuda:
    software["cuda"] = torch.version.cuda
print(json.dumps(software))
"""


class NoSide(BadRequest):
    """A side can't be set up; the text says why and what would help."""


class Side(NamedTuple):
    """A side: its title, how its lanes are started, its variants by name, and its software."""

    what: str
    launch: Launch
    variants: dict[str, Variant]
    software: dict[str, str]


def head_side(software: dict[str, str], what: str) -> Side:
    """Return the side of this tree and this interpreter; `what` is its title."""
    return Side(what, LAUNCH, {variant.name: variant for variant in RACED}, software)


def with_kernels(side: Side, kernels: Sequence[UserKernel]) -> Side:
    """Return a side that also has the user's kernels, but for names that it has already."""
    return side._replace(variants={each.name: each.variant for each in kernels} | side.variants)


def kernel_sides(base: UserKernel, head: UserKernel, software: dict[str, str]) -> tuple[Side, Side]:
    """Return the sides of two kernels of the user's, both under the name of `head`."""

    def side(kernel: UserKernel) -> Side:
        variant = kernel.variant._replace(name=head.name)
        title = f"{kernel.word} ({kernel.digest[:12]})"
        return Side(title, LAUNCH, {variant.name: variant}, software)

    return side(base), side(head)


@contextmanager
def reference_side(reference: str, software: dict[str, str]) -> Iterator[Side]:
    """Yield the side of a git reference; its worktree exists while the block runs.

    Raises NoSide where there is no git repository, no such commit in it, or no catalog in that.
    """
    option = f"--base {reference}"
    with ExitStack() as stack:
        try:
            commit, tree, folder = stack.enter_context(worktree(reference))
        except NoCommit as error:
            raise NoSide(f"{option}: {error}") from None
        if not (tree / "variants" / "catalog.py").exists():
            raise NoSide(f"{option}: {commit[:12]} has no variants/catalog.py")
        (folder / "variants").symlink_to(tree / "variants")
        (folder / "suite").symlink_to(ROOT / "suite")
        launch = Launch(LAUNCH.command, folder)
        variants = {row[0]: Variant(*row) for row in _json_from(launch, _CATALOG, option)}
        yield Side(f"{reference} ({commit[:12]})", launch, variants, software)


@contextmanager
def import_folder() -> Iterator[Path]:
    """Yield the folder from which another interpreter imports this tree, for as long as it does.

    Beside an installed tree are the packages of this interpreter, torch among them, so the other
    gets a folder with a link to the tree alone.
    """
    if not INSTALLED:
        yield ROOT
        return
    with owned_folder("alibi-bench-import-") as folder:
        (folder / ROOT.name).symlink_to(ROOT)
        yield folder


def interpreter_side(executable: str, folder: Path = ROOT) -> Side:
    """Return the side of another interpreter with its torch; the variants are this tree's.

    It imports them from `folder` (import_folder). Raises NoSide where the interpreter can't be run
    or lacks a package that lanes import.
    """
    program = shutil.which(executable)
    if program is None:
        raise NoSide(f"--base-python {executable}: no such program; name an interpreter")
    launch = Launch((str(Path(program).absolute()), "-m", "suite.lanes.lane"), folder)
    software = _json_from(launch, _SOFTWARE, f"--base-python {executable}")
    words = ", ".join(f"{name} {version}" for name, version in software.items())
    variants = {variant.name: variant for variant in RACED}
    return Side(f"{executable} ({words})", launch, variants, software)


def _json_from(launch: Launch, code: str, option: str) -> Any:
    """Run code in a side's interpreter and folder; return the JSON that it prints last."""
    command = [launch.command[0], "-c", code]
    try:
        finished = subprocess.run(
            command,
            cwd=launch.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoSide(f"{option}: {error}") from None
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or [f"exited with {finished.returncode}"])[-1]
        raise NoSide(
            f"{option}: {last}; it needs Python 3.11 or later and what lanes import: torch, "
            "msgspec, psutil, nvidia-ml-py"
        )
    try:
        return json.loads(finished.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise NoSide(f"{option}: it does not run Python; name an interpreter") from None
