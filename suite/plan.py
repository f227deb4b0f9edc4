"""From what was asked for on the command line to a plan; refuses what can't be measured."""

import difflib
from collections.abc import Iterable, Sequence
from typing import cast

from suite.case import DTYPES, MODES, Dtype, Mode
from suite.fingerprint import differences
from suite.record import Machine, Plan
from suite.sweeps import SWEEPS
from variants.catalog import BASELINE, CATALOG

LARGEST = 1 << 24


class BadRequest(Exception):  # noqa: N818 - the user's mistake, not the program's
    """Something asked for that can't be measured; the text names it, the limit and a way out."""


def plan(
    *,
    sweep: str,
    lengths: str | None,
    dtypes: str | None,
    modes: str | None,
    variants: str | None,
    batch: int | None,
    heads: int | None,
    head_dim: int | None,
    logit_scale: float | None,
    passes: int | None,
    seed: int,
    step_timeout: str,
) -> Plan:
    """Return the sweep's plan with what was asked for in its place; None leaves it as it is.

    Raises BadRequest for a name that doesn't exist or a number out of range.
    """
    chosen = SWEEPS[pick("--sweep", sweep, SWEEPS)]
    changes: dict[str, object] = {}
    if lengths is not None:
        picked_lengths = (_length(word) for word in words("--lengths", lengths))
        changes["lengths"] = tuple(dict.fromkeys(picked_lengths))
    if dtypes is not None:
        picked = [pick("--dtypes", word, DTYPES) for word in words("--dtypes", dtypes)]
        changes["dtypes"] = cast(tuple[Dtype, ...], tuple(picked))
    if modes is not None:
        picked = [pick("--modes", word, MODES) for word in words("--modes", modes)]
        changes["modes"] = cast(tuple[Mode, ...], tuple(picked))
    for option, number in (
        ("batch", batch),
        ("heads", heads),
        ("head_dim", head_dim),
        ("passes", passes),
    ):
        if number is not None:
            changes[option] = _in_range(option, number)
    if logit_scale is not None:
        if not 0 < logit_scale <= 1000:
            raise BadRequest(f"--logit-scale {logit_scale:g}: give a factor over 0, at most 1000")
        changes["logit_scale"] = logit_scale
    grid = chosen._replace(**changes)  # type: ignore[arg-type]
    return Plan(
        cases=tuple(grid.cases()),
        variants=_variants(variants),
        passes=grid.passes,
        seed=_seed(seed),
        step_timeout_s=seconds("--step-timeout", step_timeout),
    )


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
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise BadRequest(f"{option} {word}: no such name; {hint}")


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


def _in_range(field: str, number: int) -> int:
    option = f"--{field.replace('_', '-')}"
    if number < 1:
        raise BadRequest(f"{option} {number}: give at least 1")
    if number > LARGEST:
        raise BadRequest(f"{option} {number}: give at most {LARGEST}")
    return number


def _seed(number: int) -> int:
    if not 0 <= number < 1 << 63:
        raise BadRequest(f"--seed {number}: give a number from 0 to 2^63 - 1")
    return number


def _variants(text: str | None) -> tuple[str, ...]:
    names = [variant.name for variant in CATALOG]
    if text is None:
        return tuple(names)
    asked: Sequence[str] = [pick("--variants", word, names) for word in words("--variants", text)]
    return tuple(name for name in names if name in asked or name == BASELINE.name)
