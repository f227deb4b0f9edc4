"""From what was asked for on the command line to a plan; refuses what can't be measured."""

import difflib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from suite.case import DTYPES, LAYOUTS, MODES
from suite.fingerprint import differences
from suite.models import UnreadableModels, built_in, read
from suite.record import Machine, Plan
from suite.sweeps import DEFAULT_SWEEPS, SWEEPS, Shape, Sweep
from variants.catalog import BASELINE, CATALOG, Variant, on

LARGEST = 1 << 24
LEAST_PAIRS, MOST_PAIRS = 4, 1000


class BadRequest(Exception):  # noqa: N818 - the user's mistake, not the program's
    """Something asked for that can't be measured; the text names it, the limit and a way out."""


def plan(
    *,
    device: str,
    sweep: str | None,
    models: str | None,
    lengths: str | None,
    dtypes: str | None,
    modes: str | None,
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
    asked: dict[str, object] = {
        "lengths": _lengths(lengths),
        "dtypes": _picked("--dtypes", dtypes, DTYPES),
        "modes": _picked("--modes", modes, MODES),
        "batch": _in_range("--batch", batch),
        "passes": _in_range("--passes", passes),
        "logit_scale": _factor("--logit-scale", logit_scale),
        "layout": None if layout is None else pick("--layout", layout, LAYOUTS),
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    kind = device.partition(":")[0]
    if models is None:
        grid = SWEEPS[pick("--sweep", DEFAULT_SWEEPS[kind] if sweep is None else sweep, SWEEPS)]
    else:
        _refuse_beside_models(sweep=sweep, heads=heads, kv_heads=kv_heads, head_dim=head_dim)
        grid = _of_models(models)
    shapes = tuple(
        shape._replace(
            heads=_in_range("--heads", heads) or shape.heads,
            kv_heads=_in_range("--kv-heads", kv_heads) or shape.kv_heads,
            head_dim=_in_range("--head-dim", head_dim) or shape.head_dim,
            causal=shape.causal and not noncausal,
        )
        for shape in grid.shapes
    )
    grid = grid._replace(shapes=shapes, **changes)  # type: ignore[arg-type]
    _check_sharing(shapes)
    return Plan(
        cases=tuple(grid.cases()),
        variants=_variants(variants, kind),
        passes=grid.passes,
        seed=_seed(seed),
        step_timeout_s=seconds("--step-timeout", step_timeout),
        device=device,
    )


def _of_models(text: str) -> Sweep:
    """Return the grid of the models named, each with its usual lengths and batch."""
    shapes: list[Shape] = []
    for word in words("--models", text):
        if word.endswith(".json"):
            try:
                shapes += [model.shape for model in read(Path(word)).values()]
            except UnreadableModels as error:
                raise BadRequest(f"--models {error}") from None
        else:
            shapes.append(built_in()[pick("--models", word, built_in())].shape)
    return Sweep("models", (), ("bfloat16",), ("forward",), tuple(shapes))


def _check_sharing(shapes: Iterable[Shape]) -> None:
    for shape in shapes:
        if shape.kv_heads and shape.heads % shape.kv_heads:
            raise BadRequest(
                f"--kv-heads {shape.kv_heads}: {shape.heads} heads can't share them evenly; "
                "give a divisor of --heads"
            )


def _refuse_beside_models(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise BadRequest(
                f"{option} {value} beside --models: a model has its own; drop {option}"
            )


def paired(whole: Plan, base: Iterable[Variant] = ()) -> Plan:
    """Return a plan for pairs: one pass, and no baseline, since base and head are each other's.

    What the `base` has and this tree's catalog has not is planned too, so that it is missed.
    """
    kind = whole.device.partition(":")[0]
    known = {variant.name for variant in CATALOG}
    gone = [one.name for one in base if one.name not in known and one.device in ("any", kind)]
    names = [name for name in (*whole.variants, *gone) if name != BASELINE.name]
    return msgspec.structs.replace(whole, variants=tuple(names), passes=1)


def check_resumable(before: Machine, now: Machine) -> None:
    """Raise BadRequest unless a run begun by `before` can go on here and now."""
    differing = differences(now, before)
    if differing:
        differs = "; ".join(differing)
        raise BadRequest(f"--resume: this is {differs}; start a new run without --resume")
    for name in before.plan.variants:
        pick("--resume: variant", name, (variant.name for variant in CATALOG))


def words(option: str, text: str) -> list[str]:
    """Split a comma-separated list, each word once. Raises BadRequest for an empty one."""
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise BadRequest(f"{option} {text!r}: name at least one, separated by single commas")
    return list(dict.fromkeys(found))


def pick(option: str, word: str, known: Iterable[str]) -> str:
    """Return `word` if it is known. Raises BadRequest that suggests the nearest name."""
    names = list(known)
    if word in names:
        return word
    near = difflib.get_close_matches(word, names, n=1)
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    raise BadRequest(f"{option} {word}: no such name; {hint} {', '.join(names)}")


def seconds(option: str, text: str) -> float:
    """Read a duration such as 90s, 8m or 1h. Raises BadRequest for anything else."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = text[:-1], text[-1:]
    try:
        value = float(number) * units[unit]
    except (ValueError, KeyError):
        value = 0.0
    if not 0 < value < 7 * 24 * 3600:
        raise BadRequest(f"{option} {text}: give a duration such as 90s, 8m or 1h")
    return value


def pairs(number: int) -> int:
    """Return a number of pairs a stage. Raises BadRequest below what statistics can use."""
    if not LEAST_PAIRS <= number <= MOST_PAIRS:
        raise BadRequest(f"--pairs {number}: give at least {LEAST_PAIRS} and at most {MOST_PAIRS}")
    return number


def share(option: str, text: str) -> float:
    """Read a share such as 5%. Raises BadRequest for anything else."""
    try:
        value = float(text.removesuffix("%")) / 100 if text.endswith("%") else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise BadRequest(f"{option} {text}: give a share such as 5%")
    return value


def _lengths(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    return tuple(dict.fromkeys(_length(word) for word in words("--lengths", text)))


def _length(word: str) -> int:
    try:
        length = int(word)
    except ValueError:
        raise BadRequest(f"--lengths {word}: a length is a whole number of tokens") from None
    if length < 1:
        raise BadRequest(f"--lengths {length}: a length is at least 1")
    if length > LARGEST:
        raise BadRequest(f"--lengths {length}: a length is at most {LARGEST}")
    return length


def _picked(option: str, text: str | None, known: Sequence[str]) -> tuple[str, ...] | None:
    return (
        None if text is None else tuple(pick(option, word, known) for word in words(option, text))
    )


def _in_range(option: str, number: int | None) -> int | None:
    if number is not None and number < 1:
        raise BadRequest(f"{option} {number}: give at least 1")
    if number is not None and number > LARGEST:
        raise BadRequest(f"{option} {number}: give at most {LARGEST}")
    return number


def _factor(option: str, number: float | None) -> float | None:
    if number is not None and not 0 < number <= 1000:
        raise BadRequest(f"{option} {number:g}: give a factor over 0, at most 1000")
    return number


def _seed(number: int) -> int:
    if not 0 <= number < 1 << 63:
        raise BadRequest(f"--seed {number}: give a number from 0 to 2^63 - 1")
    return number


def _variants(text: str | None, kind: str) -> tuple[str, ...]:
    if text is None:
        return tuple(variant.name for variant in on(kind))
    names = [variant.name for variant in CATALOG]
    asked: Sequence[str] = [pick("--variants", word, names) for word in words("--variants", text)]
    return tuple(name for name in names if name in asked or name == BASELINE.name)
