"""Lists the names that the command line takes: variants, models and sweeps."""

import ast
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from reports.text.grid import GridColumn, grid
from reports.text.paragraph import paragraph
from reports.text.screen import IN_A_PIPE, Screen
from suite.cases.mixed_batch import notation
from suite.cases.models import Model, built_in
from suite.cases.sweeps import DEFAULT_SWEEPS, SWEEPS, Sweep
from variants.catalog import RACED, Variant

WIDTH_OF_SOURCES = 160


def variants(screen: Screen = IN_A_PIPE) -> str:
    """Return the variants: the question each answers, its default set, and a description."""
    columns = [
        GridColumn("variant", [each.name for each in RACED]),
        GridColumn("answers", [each.answers for each in RACED]),
        GridColumn("default on", ["peers" if each.package else each.device for each in RACED]),
        GridColumn("what it is", [words(each) for each in RACED], wraps=True),
    ]
    return grid(columns, screen.width)


def words(variant: Variant) -> str:
    """Return a variant's description from its module's docstring, then its options in brackets.

    They say too that it is experimental.
    """
    description = summary(variant.module).partition(": ")[2].removesuffix(".")
    notes = [f"{name} {value}" for name, value in variant.options.items()]
    notes += ["experimental"] if variant.experimental else []
    return f"{description} ({', '.join(notes)})" if notes else description


def models(screen: Screen = IN_A_PIPE) -> str:
    """Return the models that are built in: shape, what is unusual, lengths and source.

    Sources are in full where the screen has room, and else a word each.
    """
    listed = built_in().values()
    is_wide = screen.width >= WIDTH_OF_SOURCES
    sources = [model.source if is_wide else model.source.split()[0].strip(":") for model in listed]
    columns = [
        GridColumn("model", [model.name for model in listed]),
        GridColumn("batch x heads", [_heads(model) for model in listed]),
        GridColumn("unusual", [_unusual(model) for model in listed], wraps=True),
        GridColumn("lengths", [_ends(model.lengths) for model in listed], spare=not is_wide),
        GridColumn("source", sources, wraps=is_wide),
    ]
    notes = ["Usual: causal, bias max 8, scale 1/sqrt(d)."]
    if not is_wide:
        notes.append(f"COLUMNS={WIDTH_OF_SOURCES} shows each source and the lengths.")
    return f"{grid(columns, screen.width)}\n\n{paragraph(' '.join(notes), screen.width)}"


def _heads(model: Model) -> str:
    shared = f" ({model.kv_heads} kv)" if model.kv_heads != model.heads else ""
    return f"{model.batch} x {model.heads}{shared} of {model.head_dim}"


def _unusual(model: Model) -> str:
    """Return what of a model's attention is not causal, bias max 8, and scale 1/sqrt(d)."""
    parts: list[str] = [model.attn] if model.attn != "causal" else []
    parts += [f"bias max {model.bias_max:g}"] if model.bias_max != 8 else []
    parts += ["slopes /sqrt(d)"] if model.slope_scale != "1" else []
    parts += [f"scale {model.scale}"] if model.scale != "1/sqrt(d)" else []
    return ", ".join(parts)


def _ends(lengths: Sequence[int]) -> str:
    """Return a list of lengths by its ends and their number."""
    if len(lengths) == 1:
        return str(lengths[0])
    return f"{lengths[0]} to {lengths[-1]} ({len(lengths)})"


def sweeps(screen: Screen = IN_A_PIPE) -> str:
    """Return the named sweeps: purpose, and then grid and passes."""
    default_on = {name: device for device, name in DEFAULT_SWEEPS.items()}
    names = [
        f"{name} (default on {default_on[name]})" if name in default_on else name for name in SWEEPS
    ]
    contents = [f"{sweep.purpose}\n{_grid(sweep)}" for sweep in SWEEPS.values()]
    columns = [GridColumn("sweep", names), GridColumn("what it measures", contents, wraps=True)]
    return grid(columns, screen.width)


def _grid(sweep: Sweep) -> str:
    """Return a sweep's lengths, dtypes, modes, shapes and passes."""
    shapes = " and ".join(f"{shape.heads} heads of {shape.head_dim}" for shape in sweep.shapes)
    batch = len(sweep.seq_lens) or sweep.batch or sweep.shapes[0].batch
    parts = [
        (sweep.q_lens and notation(sweep.q_lens, sweep.seq_lens))
        or "+".join(map(str, sweep.seq_lens))
        or ", ".join(map(str, sweep.lengths)),
        ", ".join(sweep.dtypes),
        ", ".join(sweep.modes),
        f"{batch} x {shapes}",
        f"{sweep.passes} pass{'' if sweep.passes == 1 else 'es'}",
    ]
    return "; ".join(parts)


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
