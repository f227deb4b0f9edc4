"""Which variants run here: each is tried on a tiny case, by a worker process that is watched.

One worker tries all variants, because starting torch takes seconds. If it dies, another goes on
with the next variant. A quick look is over after `QUICK_S`, whatever the machine does meanwhile.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from suite.cases.case import Mode
from suite.conditions.device import Device
from suite.conditions.policy import Policy
from suite.failures import RunFailed
from suite.probe.worker import Worker
from suite.records.record import Status
from variants.catalog import Variant

MODES: tuple[Mode, ...] = ("forward", "backward")
QUICK_S = 12.0
STEP_S = 120.0

Report = Callable[[str], None]


class ProbeResult(NamedTuple):
    """A variant's status in one mode and the reason, or where a variant that ran errs most."""

    variant: str
    mode: Mode
    status: Status
    reason: str


def probe(
    variants: Sequence[Variant], policy: Policy, device: Device, *, deep: bool, report: Report
) -> list[ProbeResult]:
    """Try every variant forward and backward on a device, in its half precision.

    `report` hears of each before it is tried. Without `deep` no variant is tried that waits for a
    compiler, and none after `QUICK_S`; with it each may take `STEP_S`. Raises RunFailed when a
    worker can't start.
    """
    baselines_last = sorted(variants, key=lambda variant: variant.answers != "alibi")
    names = [variant.name for variant in baselines_last if deep or variant.compiles == "never"]
    report(f"starting torch, to try {len(names)} of {len(variants)} variants")
    cells = [(name, mode) for mode in MODES for name in names]
    tried = {
        (result.variant, result.mode): result
        for result in _try(cells, policy, device, None if deep else QUICK_S, report)
    }
    why = "waits for a compiler; doctor --deep tries it"
    return [
        tried.get((variant.name, mode)) or ProbeResult(variant.name, mode, "skipped", why)
        for mode in MODES
        for variant in variants
    ]


def _try(
    cells: Sequence[tuple[str, Mode]],
    policy: Policy,
    device: Device,
    limit_s: float | None,
    report: Report,
) -> Iterator[ProbeResult]:
    """Yield the result of each cell; after `limit_s`, if given, they are skipped."""
    ends_at = None if limit_s is None else time.monotonic() + limit_s
    waiting = list(cells)
    while waiting:
        with Worker(waiting, policy, device) as worker:
            try:
                _wait_until_ready(worker, ends_at)
                while waiting:
                    name, mode = waiting[0]
                    report(f"{len(cells) - len(waiting) + 1} of {len(cells)}: {name} {mode}")
                    outcome = worker.outcome(_left_s(ends_at))
                    waiting.pop(0)
                    yield ProbeResult(name, mode, *outcome)
                    if outcome.ends_worker:
                        break
            except TimeoutError:
                if limit_s is None:
                    yield ProbeResult(*waiting.pop(0), "timed_out", f"took over {STEP_S:.0f} s")
                    continue
                why = f"not tried within {limit_s:.0f} s; doctor --deep takes its time"
                yield from (ProbeResult(*cell, "skipped", why) for cell in waiting)
                return


def _wait_until_ready(worker: Worker, ends_at: float | None) -> None:
    status, reason = worker.outcome(_left_s(ends_at))
    if status != "measured":
        raise RunFailed(f"a process that tries variants can't start: {reason}")


def _left_s(ends_at: float | None) -> float:
    return STEP_S if ends_at is None else ends_at - time.monotonic()
