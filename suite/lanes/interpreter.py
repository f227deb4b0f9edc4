"""Lanes of other interpreters: asked for their packages' versions, and told where the code is."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from suite.conditions.policy import ROOT
from suite.conditions.temporary import owned_folder
from suite.failures import BadRequest
from suite.lanes.handle import Launch, environment
from variants.catalog import RACED
from variants.host.installation import IS_INSTALLED
from variants.host.software import FRAMEWORKS

_ASK_LIMIT_S = 120.0
_SOFTWARE = """
import json
from importlib.metadata import PackageNotFoundError, version
import torch, msgspec, psutil, pynvml
import suite.lanes.lane
software = {{}}
for name in {packages!r}:
    try:
        software[name] = version(name)
    except PackageNotFoundError:
        software[name] = "absent"
if torch.version.cuda:
    software["cuda"] = torch.version.cuda
print(json.dumps(software))
"""


class NoInterpreter(BadRequest):
    """A program that can't run lanes; the text says why and what would help."""


class Interpreter(NamedTuple):
    """An interpreter: how its lanes are started, and the versions of its packages by name."""

    launch: Launch
    software: dict[str, str]


def open_interpreter(
    executable: str, option: str, folder: Path = ROOT, packages: tuple[str, ...] = FRAMEWORKS
) -> Interpreter:
    """Return an interpreter whose lanes import this tree from `folder` (import_folder).

    Raises NoInterpreter where it can't be run or lacks a package that lanes import.
    """
    program = shutil.which(executable)
    if program is None:
        raise NoInterpreter(f"{option}: no such program; name an interpreter")
    launch = Launch((str(Path(program).absolute()), "-m", "suite.lanes.lane"), folder)
    answer = json_from(launch, _SOFTWARE.format(packages=packages), option)
    try:
        return Interpreter(launch, msgspec.convert(answer, dict[str, str]))
    except msgspec.ValidationError:
        raise NoInterpreter(f"{option}: it does not run Python; name an interpreter") from None


@contextmanager
def import_folder() -> Iterator[Path]:
    """Yield the folder from which another interpreter imports this tree, for as long as it does.

    Beside an installed tree are the packages of this interpreter, torch among them, so the other
    gets a folder with a link to the tree alone.
    """
    if not IS_INSTALLED:
        yield ROOT
        return
    with owned_folder("alibi-bench-import-") as folder:
        (folder / ROOT.name).symlink_to(ROOT)
        yield folder


@contextmanager
def interpreters_of(pythons: Iterable[tuple[str, str]]) -> Iterator[dict[str, Interpreter]]:
    """Yield the interpreter of each variant that has its own, from (variant, executable).

    Raises NoInterpreter.
    """
    packages = {variant.name: variant.package for variant in RACED}
    with import_folder() as folder:
        yield {
            name: open_interpreter(
                executable,
                f"--python {name}={executable}",
                folder,
                (*FRAMEWORKS, *filter(None, [packages.get(name)])),
            )
            for name, executable in pythons
        }


def software_of(interpreters: Mapping[str, Interpreter]) -> dict[str, str]:
    """Return the versions that lanes of other interpreters have, by "PACKAGE of VARIANT"."""
    return {
        f"{package} of {variant}": version
        for variant, interpreter in interpreters.items()
        for package, version in interpreter.software.items()
    }


def json_from(launch: Launch, code: str, option: str) -> Any:
    """Run code in an interpreter, in its folder; return the JSON that it prints last.

    Raises NoInterpreter.
    """
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
        raise NoInterpreter(f"{option}: {error}") from None
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or [f"exited with {finished.returncode}"])[-1]
        raise NoInterpreter(
            f"{option}: {last}; it needs Python 3.11 or later and what lanes import: torch, "
            "msgspec, psutil, nvidia-ml-py"
        )
    try:
        return json.loads(finished.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise NoInterpreter(f"{option}: it does not run Python; name an interpreter") from None
