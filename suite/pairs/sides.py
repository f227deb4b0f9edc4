"""The two sides of a comparison, base and head: two commits' variants, or two interpreters.

Both sides run this tree's suite, so that only the variants, or only the interpreters, differ.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from suite.conditions.policy import ROOT
from suite.failures import BadRequest
from suite.kernels.user_kernels import UserKernel
from suite.lanes.handle import LAUNCH, Launch
from suite.lanes.interpreter import json_from, open_interpreter
from suite.pairs.worktree import NoCommit, worktree
from variants.catalog import RACED, Variant

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
        variants = {row[0]: Variant(*row) for row in json_from(launch, _CATALOG, option)}
        yield Side(f"{reference} ({commit[:12]})", launch, variants, software)


def interpreter_side(executable: str, folder: Path = ROOT) -> Side:
    """Return the side of another interpreter with its torch; the variants are this tree's.

    It imports them from `folder` (import_folder). Raises NoInterpreter where it can't be run or
    lacks a package that lanes import.
    """
    launch, software = open_interpreter(executable, f"--base-python {executable}", folder)
    words = ", ".join(f"{name} {version}" for name, version in software.items())
    variants = {variant.name: variant for variant in RACED}
    return Side(f"{executable} ({words})", launch, variants, software)
