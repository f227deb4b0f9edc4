"""The interpreter of a node's runs: Ray's own, or one made from a folder of wheels."""

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

MODULES = {
    "torch": "torch",
    "pynvml": "nvidia-ml-py",
    "pytest_benchmark": "pytest-benchmark",
    "tabulate": "tabulate",
    "click": "click",
    "rich": "rich",
    "msgspec": "msgspec",
    "psutil": "psutil",
    "scipy": "scipy",
}
"""The modules that a run needs, and the packages that have them."""


class NoPython(Exception):  # noqa: N818 - a state of the node
    """A node can't run this project; the text says what it lacks and what would help."""


def interpreter(wheels: str | None) -> str:
    """Return an interpreter that has what a run needs, on this node.

    It is this one if nothing is missing. Else `wheels`, a folder on this node, is installed into an
    environment in the user's cache, once for each content of the folder. Raises NoPython.
    """
    missing = [package for module, package in MODULES.items() if find_spec(module) is None]
    if not missing:
        return sys.executable
    lacks = f"the node's Python {sys.executable} lacks {', '.join(missing)}"
    if wheels is None:
        raise NoPython(f"{lacks}: install alibi-bench's packages there, or give --wheels FOLDER")
    if not Path(wheels).is_dir():
        raise NoPython(f"{lacks}, and --wheels {wheels} is no folder there")
    return _environment(Path(wheels))


def _environment(wheels: Path) -> str:
    names = " ".join(sorted(path.name for path in wheels.iterdir()))
    mark = hashlib.blake2b(f"{sys.version} {names}".encode(), digest_size=8).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "alibi_bench" / f"fleet-{mark}"
    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        pip = [str(python), "-m", "pip", "install", "--quiet", "--no-index"]
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [*pip, "--find-links", str(wheels), *MODULES.values()],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                words = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise NoPython(f"--wheels {wheels} can't be installed on the node: {words}")
        (folder / ".complete").touch()
    return str(python)
