"""Which variants run here: each is prepared, called and checked once on a tiny case."""

from collections.abc import Sequence
from typing import NamedTuple

from suite.cases.case import Case, Mode
from suite.conditions.policy import Policy
from suite.failures import RunFailed
from suite.lanes.compile_cache import compile_cache
from suite.lanes.handle import LaneFault
from suite.lanes.pool import LanePool
from suite.lanes.protocol import Check, Checked, Done, FirstCall, Prepare
from suite.records.record import Status
from variants.catalog import Variant

PROBED: tuple[Mode, ...] = ("forward", "backward")
LENGTH = 64
LIMIT_S = 120.0


class ProbeResult(NamedTuple):
    """What became of a variant in one mode: its status, and a reason unless it ran."""

    variant: str
    mode: str
    status: Status
    reason: str


def probe(variants: Sequence[Variant], policy: Policy, device: str) -> list[ProbeResult]:
    """Try every variant forward and backward on `device`, in bfloat16.

    Raises RunFailed if none can start.
    """
    by_name = {variant.name: variant for variant in variants}
    findings = []
    with compile_cache() as cache, LanePool(by_name, policy, cache, device) as pool:
        for mode in PROBED:
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
            for lane in lanes:
                try:
                    lane.ask(Prepare(case, 0), Done, LIMIT_S)
                    lane.ask(FirstCall(), Done, LIMIT_S)
                    checked = lane.ask(Check("before"), Checked, LIMIT_S)
                except LaneFault as fault:
                    found = ProbeResult(lane.variant.name, mode, fault.status, fault.reason)
                else:
                    status: Status = "measured" if checked.agrees else "disagrees"
                    found = ProbeResult(lane.variant.name, mode, status, checked.where)
                findings.append(found)
    return findings
