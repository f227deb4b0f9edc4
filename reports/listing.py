"""What can be named on the command line, told from the catalog, the docstrings and the sweeps."""

import ast
from importlib.util import find_spec
from pathlib import Path

from tabulate import tabulate

from suite.sweeps import DEFAULT_SWEEP, SWEEPS
from variants.catalog import CATALOG


def variants() -> str:
    """Return the variants, what each answers, and the first line of its docstring."""
    lines = [
        (variant.name, variant.answers, summary(variant.module).partition(": ")[2])
        for variant in CATALOG
    ]
    return tabulate(lines, ("variant", "answers", "what it is"))


def sweeps() -> str:
    """Return the named sweeps with their grids."""
    lines = [
        (
            f"{name} (default)" if name == DEFAULT_SWEEP else name,
            ",".join(map(str, sweep.lengths)),
            ",".join(sweep.dtypes),
            ",".join(sweep.modes),
            f"{sweep.batch} x {sweep.heads} heads of {sweep.head_dim}",
            sweep.passes,
            sweep.purpose,
        )
        for name, sweep in SWEEPS.items()
    ]
    headers = ("sweep", "lengths", "dtypes", "modes", "batch and heads", "passes", "purpose")
    return tabulate(lines, headers, disable_numparse=True)


def summary(module: str) -> str:
    """Return the first line of a module's docstring without importing the module."""
    found = find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"the catalog names {module}, which is not to be found")
    docstring = ast.get_docstring(ast.parse(Path(found.origin).read_text())) or ""
    return docstring.partition("\n")[0]
