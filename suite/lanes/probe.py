"""A probe of which variants run here: each is prepared, called and checked on a tiny case."""

from collections.abc import Sequence
from typing import NamedTuple

from suite.cases.case import Case, Mode
from suite.conditions.policy import Policy
from suite.failures import RunFailed
from suite.lanes.compile_cache import compile_cache
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.pool import LanePool
from suite.lanes.protocol import Check, CheckResult, Done, FirstCall, Prepare
from suite.records.record import Status
from variants.catalog import Variant

MODES: tuple[Mode, ...] = ("forward", "backward")
LENGTH = 64
LIMIT_S = 120.0


class ProbeResult(NamedTuple):
    """A variant's status in one mode and the reason, or where a variant that ran errs most."""

    variant: str
    mode: str
    status: Status
    reason: str


def probe(variants: Sequence[Variant], policy: Policy, device: str) -> list[ProbeResult]:
    """Try every variant forward and backward on `device`, in bfloat16.

    Raises RunFailed when a lane can't start.
    """
    by_name = {variant.name: variant for variant in variants}
    results: list[ProbeResult] = []
    with compile_cache() as cache, LanePool(by_name, policy, cache, device) as pool:
        for mode in MODES:
            case = Case(
                heads=4,
                kv_heads=4,
                head_dim=64,
                q_len=LENGTH,
                kv_len=LENGTH,
                dtype="bfloat16",
                mode=mode,
            )
            try:
                lanes = pool.ready(by_name)
            except LaneFault as fault:
                raise RunFailed(f"a lane can't start: {fault.reason}") from fault
            results += [_probe_variant(lane, case) for lane in lanes]
    return results


def _probe_variant(lane: Handle, case: Case) -> ProbeResult:
    name = lane.variant.name
    try:
        lane.ask(Prepare(case, inputs_seed=0), Done, LIMIT_S)
        lane.ask(FirstCall(), Done, LIMIT_S)
        check = lane.ask(Check("before", rows_seed=0), CheckResult, LIMIT_S)
    except LaneFault as fault:
        return ProbeResult(name, case.mode, fault.status, fault.reason)
    return ProbeResult(name, case.mode, "measured" if check.agrees else "disagrees", check.where)
