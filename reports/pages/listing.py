"""Lists the names that the command line takes: variants, models and sweeps."""

import ast
from importlib.util import find_spec
from pathlib import Path

from tabulate import tabulate

from suite.cases.mixed_batch import notation
from suite.cases.models import built_in
from suite.cases.sweeps import DEFAULT_SWEEPS, SWEEPS
from variants.catalog import RACED, Variant


def variants() -> str:
    """Return the variants: the question each answers, its default set, and a description."""
    lines = [
        (each.name, each.answers, "peers" if each.package else each.device, words(each))
        for each in RACED
    ]
    return tabulate(lines, ("variant", "answers", "default on", "what it is"))


def words(variant: Variant) -> str:
    """Return a variant's description from its module's docstring, then its options in brackets."""
    description = summary(variant.module).partition(": ")[2].removesuffix(".")
    options = ", ".join(f"{name} {value}" for name, value in variant.options.items())
    return f"{description} ({options})" if options else description


def models() -> str:
    """Return the models that are built in: shape, mask, slopes, scale, lengths and source."""
    lines = [
        (
            model.name,
            f"{model.batch} x {model.heads}"
            + (f" ({model.kv_heads} kv)" if model.kv_heads != model.heads else ""),
            model.head_dim,
            model.attn,
            f"max {model.bias_max:g}" + (", /sqrt(d)" if model.slope_scale != "1" else ""),
            model.scale,
            ",".join(map(str, model.lengths)),
            model.source,
        )
        for model in built_in().values()
    ]
    headers = ("model", "batch x heads", "dim", "mask", "slopes", "scale", "lengths", "source")
    return tabulate(lines, headers, disable_numparse=True)


def sweeps() -> str:
    """Return the named sweeps: grid, passes and purpose."""
    default_on = {name: device for device, name in DEFAULT_SWEEPS.items()}
    lines = [
        (
            f"{name} (default on {default_on[name]})" if name in default_on else name,
            (sweep.q_lens and notation(sweep.q_lens, sweep.seq_lens))
            or "+".join(map(str, sweep.seq_lens))
            or ",".join(map(str, sweep.lengths)),
            ",".join(sweep.dtypes),
            ",".join(sweep.modes),
            f"{len(sweep.seq_lens) or sweep.batch or sweep.shapes[0].batch} x "
            + " and ".join(f"{shape.heads} heads of {shape.head_dim}" for shape in sweep.shapes),
            sweep.passes,
            sweep.purpose,
        )
        for name, sweep in SWEEPS.items()
    ]
    headers = ("sweep", "lengths", "dtypes", "modes", "batch and heads", "passes", "purpose")
    return tabulate(lines, headers, disable_numparse=True)


def summary(module: str) -> str:
    """Return the first line of a module's docstring, without importing the module."""
    docstring = ast.get_docstring(ast.parse(source(module).read_text())) or ""
    return docstring.partition("\n")[0]


def source(module: str) -> Path:
    """Return the file of a module of the catalog. Raises ModuleNotFoundError if there is none."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the catalog names {module}, which is not to be found")
    return Path(spec.origin)
