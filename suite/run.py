"""A run: every case of a plan in every variant, pass by pass, each result written as it comes."""

import statistics
import time
from collections.abc import Sequence
from random import Random

from suite.case import Case
from suite.compile_cache import compile_cache
from suite.contender import Setting
from suite.crew import Crew
from suite.handle import LAUNCH, Handle, LaneFault
from suite.machine import Policy
from suite.nvml import Absent
from suite.protocol import RunCanary, Sampled
from suite.race import race
from suite.record import Canary, CellRecord, Plan
from suite.store import Store
from suite.watch import Watch
from variants.catalog import Variant

Cells = frozenset[tuple[Case, str, int]]
Missing = dict[Case, list[str]]


class RunFailed(Exception):  # noqa: N818 - says what became of the run
    """Lanes can't work on this machine; the text says why."""


def run(
    plan: Plan,
    variants: Sequence[Variant],
    policy: Policy,
    store: Store,
    watch: Watch,
    finished: Cells = frozenset(),
    launch: Sequence[str] = LAUNCH,
) -> None:
    """Measure what of `plan` is not in `finished` and append its records to `store`.

    A pass has a fresh lane for each variant, made by the command `launch`, and takes the cases in
    an order of its own.

    Raises RunFailed when lanes can't be started, StoreError when the file can't be written.
    """
    passes = {number: _missing(plan, finished, number) for number in range(1, plan.passes + 1)}
    watch.begin(sum(len(names) for missing in passes.values() for names in missing.values()))
    by_name = {variant.name: variant for variant in variants}
    compiled: set[tuple[Case, str]] = set()
    with compile_cache() as cache:
        for number, missing in passes.items():
            if missing:
                with Crew(by_name, policy, cache, launch) as crew:
                    try:
                        _run_pass(plan, number, missing, crew, store, watch, compiled)
                    except LaneFault as fault:
                        raise RunFailed(f"a lane can't start: {fault.reason}") from fault


def _run_pass(
    plan: Plan,
    number: int,
    missing: Missing,
    crew: Crew,
    store: Store,
    watch: Watch,
    compiled: set[tuple[Case, str]],
) -> None:
    random = Random(f"{plan.seed} {number}")
    lanes = crew.ready(dict.fromkeys(name for names in missing.values() for name in names))
    store.append([_canary(number, lanes[0], plan.step_timeout_s)])
    for case in random.sample(list(missing), len(missing)):
        names = missing[case]
        setting = Setting(
            case=case,
            pass_number=number,
            race=time.time_ns(),
            seed=plan.seed,
            step_timeout_s=plan.step_timeout_s,
            cold=frozenset(name for name in names if (case, name) not in compiled),
            watch=watch,
            gpu=Absent("the run uses no GPU"),
        )
        ended: list[CellRecord] = []
        for records in race(setting, crew.ready(names), random):
            store.append(records)
            ended += records
        compiled.update((case, name) for name in names)
        watch.raced(case, number, ended, len(names))


def _missing(plan: Plan, finished: Cells, number: int) -> Missing:
    by_case = {
        case: [name for name in plan.variants if (case, name, number) not in finished]
        for case in plan.cases
    }
    return {case: names for case, names in by_case.items() if names}


def _canary(number: int, lane: Handle, limit_s: float) -> Canary:
    samples_ns = lane.ask(RunCanary(), Sampled, limit_s).samples_ns
    return Canary(pass_number=number, median_ms=statistics.median(samples_ns) / 1e6)
