"""A plan: every case in every variant, so many times over; and its variations."""

from collections.abc import Iterable, Sequence

import msgspec

from suite.cases.case import Case
from suite.failures import BadRequest
from suite.kernels.user_kernels import UserKernel
from variants.catalog import AUTO, BASELINE, CATALOG, RACED, Variant

Cell = tuple[Case, str]
"""A case and the name of a variant."""


MOST_CELLS = 200_000


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run sets out to measure: every case in every variant, so many times over.

    `kernels` are those of the variants that are not in the catalog but the user's own. `pythons`
    are variants whose lanes have an interpreter of their own, and its program.
    """

    cases: tuple[Case, ...]
    variants: tuple[str, ...]
    passes: int
    seed: int
    step_timeout_s: float
    device: str = "cpu"
    kernels: tuple[UserKernel, ...] = ()
    pythons: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        cells = len(self.cases) * len(self.variants)
        if cells > MOST_CELLS:
            raise ValueError(
                f"{len(self.cases)} cases of {len(self.variants)} variants are {cells} cells: "
                f"plan at most {MOST_CELLS}, and the rest in another run"
            )


def pairs_plan(whole: Plan, base: Iterable[Variant] = ()) -> Plan:
    """Return the plan for pairs: one pass, and no baseline, since base and head are each other's.

    It also has the variants of `base` that are gone from this tree's catalog, so that the
    comparison reports them as missing.
    """
    kind = whole.device.partition(":")[0]
    names = {variant.name for variant in RACED}
    gone = [
        variant.name
        for variant in base
        if variant.name not in names and variant.device in ("any", kind)
    ]
    pairable = [name for name in (*whole.variants, *gone) if name != BASELINE.name]
    return msgspec.structs.replace(whole, variants=tuple(pairable), passes=1)


def without_variant(whole: Plan, variant: Variant) -> Plan:
    """Return the plan with one variant left out."""
    return msgspec.structs.replace(
        whole, variants=tuple(name for name in whole.variants if name != variant.name)
    )


def part_of(whole: Plan, number: int, count: int) -> Plan:
    """Return part `number`, from 1, of a plan that is split by case into `count` parts.

    Every `count`-th case is in it, so that the parts of a grid take about as long. Raises
    BadRequest for more parts than cases.
    """
    if count > len(whole.cases):
        raise BadRequest(
            f"--part {number}/{count}: the plan has {len(whole.cases)} cases; give no more parts"
        )
    return msgspec.structs.replace(whole, cases=whole.cases[number - 1 :: count])


def for_cases(cases: Iterable[Case], like: Sequence[Plan]) -> Plan:
    """Return a plan for other cases, with the catalog's variants of the plans `like` but `auto`.

    Passes, seed, time-out and device are those of the first of them.
    """
    planned = {name for plan in like for name in plan.variants}
    names = tuple(variant.name for variant in CATALOG if variant.name in planned)
    again = msgspec.structs.replace(like[0], cases=tuple(cases), variants=names, kernels=())
    return without_variant(again, AUTO)
