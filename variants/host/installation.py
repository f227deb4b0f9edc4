"""Where this code is: in a checkout, or installed inside of the package alibi_bench.

The wheel has this file as a module of alibi_bench (setup.py), a checkout has it at the top level.
"""

import tomllib
from importlib import metadata
from pathlib import Path

IS_INSTALLED = __name__.startswith("alibi_bench.")
FOLDER = Path(__file__).resolve().parents[2]
"""The folder that has suite, variants and reports in it: a checkout's root, or the package's."""

_PROGRAM_OF_A_CHECKOUT = "python run_bench.py"


def program() -> str:
    """Return the command by which this user runs the program."""
    return "alibi-bench" if IS_INSTALLED else _PROGRAM_OF_A_CHECKOUT


def as_typed_here(text: str) -> str:
    """Return a text that names a checkout's command with the command that this user has."""
    return text.replace(_PROGRAM_OF_A_CHECKOUT, program())


def remedy() -> str:
    """Return what to do where a package is missing."""
    if IS_INSTALLED:
        return "`pip install` of alibi-bench's wheel, without --no-deps, installs what this needs"
    return "`make setup` installs what this needs; run it with .venv/bin/python"


def install_command(extra: str, *packages: str) -> str:
    """Return the command that installs an extra in a clone, and elsewhere its packages.

    A clone is installed editable, so that the code that runs stays the clone's.
    """
    return f"pip install {' '.join(packages)}" if IS_INSTALLED else f"pip install -e '.[{extra}]'"


def results_folder() -> Path:
    """Return the folder of new results: a checkout's own, else one in the working directory."""
    return (Path.cwd() if IS_INSTALLED else FOLDER) / "results"


def version() -> str:
    """Return this project's version: the installed package's, else the checkout's."""
    try:
        return metadata.version("alibi-bench")
    except metadata.PackageNotFoundError:
        project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
        return str(project["version"])
