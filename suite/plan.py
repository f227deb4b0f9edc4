"""From what was asked for on the command line to a plan; refuses what can't be measured."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from suite import asked
from suite.asked import BadRequest
from suite.case import DTYPES, LAYOUTS, MODES, Case
from suite.fingerprint import differences
from suite.models import UnreadableModels, built_in, read
from suite.record import Machine, Plan
from suite.sweeps import DEFAULT_SWEEPS, SWEEPS, Shape, Sweep
from variants.catalog import AUTO, BASELINE, CATALOG, Variant, on


def plan(
    *,
    device: str,
    sweep: str | None,
    models: str | None,
    lengths: str | None,
    dtypes: str | None,
    modes: str | None,
    q_len: int | None,
    seq_lens: str | None,
    variants: str | None,
    batch: int | None,
    heads: int | None,
    kv_heads: int | None,
    head_dim: int | None,
    noncausal: bool,
    layout: str | None,
    logit_scale: float | None,
    passes: int | None,
    seed: int,
    step_timeout: str,
) -> Plan:
    """Return the sweep's plan with what was asked for in its place; None leaves it as it is.

    `device` is torch's name of it; without a sweep its kind's default is taken. `models` are names
    of presets, or files of the user's own in their form.

    Raises BadRequest for a name that doesn't exist or a number out of range.
    """
    kind = device.partition(":")[0]
    of_heads = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    grid = _with_heads(_grid(kind, sweep, models, of_heads), of_heads, noncausal=noncausal)
    if grid.seq_lens or seq_lens is not None:
        _refuse("beside sequences, which have their own", lengths=lengths, batch=batch, q_len=q_len)
    given: dict[str, object] = {
        "lengths": asked.lengths(lengths),
        "seq_lens": asked.seq_lens(seq_lens),
        "dtypes": asked.picked("--dtypes", dtypes, DTYPES),
        "modes": asked.picked("--modes", modes, MODES),
        "batch": asked.in_range("--batch", batch),
        "q_len": asked.in_range("--q-len", q_len),
        "passes": asked.in_range("--passes", passes),
        "logit_scale": asked.factor("--logit-scale", logit_scale),
        "layout": None if layout is None else asked.pick("--layout", layout, LAYOUTS),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    grid = grid._replace(**changes)  # type: ignore[arg-type]
    return Plan(
        cases=tuple(dict.fromkeys(case for shape in grid.shapes for case in _cases(grid, shape))),
        variants=_variants(variants, kind),
        passes=grid.passes,
        seed=asked.seed_in_range(seed),
        step_timeout_s=asked.seconds("--step-timeout", step_timeout),
        device=device,
    )


def _grid(
    kind: str, sweep: str | None, models: str | None, of_heads: Mapping[str, int | None]
) -> Sweep:
    """Return the grid to start from: that of the models, or the sweep."""
    if models is None:
        name = DEFAULT_SWEEPS[kind] if sweep is None else sweep
        return SWEEPS[asked.pick("--sweep", name, SWEEPS)]
    _refuse("beside --models: a model has its own", sweep=sweep, **of_heads)
    return _of_models(models)


def _with_heads(grid: Sweep, of_heads: Mapping[str, int | None], *, noncausal: bool) -> Sweep:
    """Return the grid with the heads that were asked for."""
    checked = {
        name: asked.in_range(f"--{name.replace('_', '-')}", number)
        for name, number in of_heads.items()
    }
    changes = {name: number for name, number in checked.items() if number is not None}
    shapes = tuple(
        shape._replace(causal=shape.causal and not noncausal, **changes)  # type: ignore[arg-type]
        for shape in grid.shapes
    )
    for shape in shapes:
        if shape.kv_heads and shape.heads % shape.kv_heads:
            raise BadRequest(
                f"--kv-heads {shape.kv_heads}: {shape.heads} heads can't share them evenly; "
                "give a divisor of --heads"
            )
    return grid._replace(shapes=shapes)


def _of_models(text: str) -> Sweep:
    """Return the grid of the models named, each with its usual lengths and batch."""
    shapes: list[Shape] = []
    for word in asked.words("--models", text):
        if word.endswith(".json"):
            try:
                shapes += [model.shape for model in read(Path(word)).values()]
            except UnreadableModels as error:
                raise BadRequest(f"--models {error}") from None
        else:
            shapes.append(built_in()[asked.pick("--models", word, built_in())].shape)
    return Sweep("models", (), ("bfloat16",), ("forward",), tuple(shapes))


def _cases(grid: Sweep, shape: Shape) -> list[Case]:
    """Return the grid's cases of one shape. Raises BadRequest that names the shape's model."""
    try:
        return grid._replace(shapes=(shape,)).cases()
    except ValueError as error:
        of = f" of {shape.model}" if shape.model else ""
        raise BadRequest(f"--lengths, --q-len and --modes make no case{of}: {error}") from None


def _refuse(why: str, **options: object) -> None:
    for name, value in options.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise BadRequest(f"{option} {value} {why}; drop {option}")


def paired(whole: Plan, base: Iterable[Variant] = ()) -> Plan:
    """Return a plan for pairs: one pass, and no baseline, since base and head are each other's.

    What the `base` has and this tree's catalog has not is planned too, so that it is missed.
    """
    kind = whole.device.partition(":")[0]
    known = {variant.name for variant in CATALOG}
    gone = [one.name for one in base if one.name not in known and one.device in ("any", kind)]
    names = [name for name in (*whole.variants, *gone) if name != BASELINE.name]
    return msgspec.structs.replace(whole, variants=tuple(names), passes=1)


def without(whole: Plan, variant: Variant) -> Plan:
    """Return a plan that leaves a variant out."""
    return msgspec.structs.replace(
        whole, variants=tuple(name for name in whole.variants if name != variant.name)
    )


def of_cases(cases: Iterable[Case], like: Sequence[Plan]) -> Plan:
    """Return a plan of cases, in every variant but `auto` of plans that are alike otherwise."""
    named = {name for one in like for name in one.variants}
    names = tuple(variant.name for variant in CATALOG if variant.name in named)
    return without(msgspec.structs.replace(like[0], cases=tuple(cases), variants=names), AUTO)


def check_resumable(before: Machine, now: Machine) -> None:
    """Raise BadRequest unless a run begun by `before` can go on here and now."""
    differing = differences(now, before)
    if differing:
        differs = "; ".join(differing)
        raise BadRequest(f"--resume: this is {differs}; start a new run without --resume")
    for name in before.plan.variants:
        asked.pick("--resume: variant", name, (variant.name for variant in CATALOG))


def _variants(text: str | None, kind: str) -> tuple[str, ...]:
    if text is None:
        return tuple(variant.name for variant in on(kind))
    names = [variant.name for variant in CATALOG]
    chosen: Sequence[str] = [
        asked.pick("--variants", word, names) for word in asked.words("--variants", text)
    ]
    return tuple(name for name in names if name in chosen or name == BASELINE.name)
