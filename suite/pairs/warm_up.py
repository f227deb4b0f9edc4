"""Before pairs are taken: fill both sides' compile caches, check and weigh every cell on each."""

import dataclasses
from typing import Literal, NamedTuple

import msgspec

from suite.cases.plan import Cell
from suite.conditions.nvml import Absent
from suite.failures import RunFailed
from suite.lanes.handle import LaneFault
from suite.lanes.pool import LanePool
from suite.lanes.protocol import (
    Check,
    CheckResult,
    Done,
    Drop,
    FirstCall,
    Foresee,
    MemoryForecast,
    Prepare,
    Weigh,
    WeighResult,
)
from suite.pairs.duel import Duel
from suite.race.setting import (
    agreement_record,
    fault_record,
    fresh_seed,
    memory_record,
)
from suite.records.record import SIDES, Agreement, Fault, PairRecord, PairSide

STAGES: tuple[Literal["before", "after"], ...] = ("before", "after")
NO_NVML = Absent("NVML is not asked in pairs")


class Draws(NamedTuple):
    """The numbers from which both sides draw a cell's inputs and the rows of each check.

    Both draw the same, so that a different error is the code's; no lane knows them before.
    """

    inputs_seed: int
    rows_seeds: tuple[int, ...]


class WarmUp(NamedTuple):
    """The cells in which both sides agree with the oracle, with their caches filled.

    `base_fault` is set where no cell works in base: the first one's variant, status and reason.
    """

    cells: list[Cell]
    base_fault: str | None


def warm_up(duel: Duel) -> WarmUp:
    """Prepare, call, check and weigh every cell on both sides; each record goes to the store.

    Raises RunFailed when a side's lanes can't be started.
    """
    sound: list[Cell] = []
    in_base: list[str | None] = []
    duel.watch.begin(len(duel.plan.cases) * len(duel.plan.variants))
    for name in duel.plan.variants:
        with duel.pools(name) as pools:
            for case in duel.plan.cases:
                cell, draws = (case, name), _fresh_draws()
                by_side = {
                    side: _warm_up_side(duel, side, pool, cell, draws) for side, pool in pools
                }
                records = [record for side_records in by_side.values() for record in side_records]
                duel.watch.report(f"warm-up, {case.id}", records, 1)
                if "base" in by_side:
                    in_base.append(_first_fault(by_side["base"]))
                if len(by_side) == len(SIDES) and _first_fault(records) is None:
                    sound.append(cell)
    works_in_base = not in_base or None in in_base
    return WarmUp(sound, None if works_in_base else in_base[0])


def _fresh_draws() -> Draws:
    return Draws(fresh_seed(), tuple(fresh_seed() for _ in STAGES))


def _first_fault(records: list[PairRecord]) -> str | None:
    """Return what is wrong with a cell, in words, or None."""
    for record in records:
        if isinstance(record, Fault):
            return f"{record.variant} {record.status}: {record.reason}"
        if isinstance(record, Agreement) and not record.agrees:
            return f"{record.variant} disagrees: {record.where}: {record.finding}"
    return None


def _warm_up_side(
    duel: Duel, side: PairSide, pool: LanePool, cell: Cell, draws: Draws
) -> list[PairRecord]:
    """Foresee, prepare, check and weigh; record each with its side, and return the records."""
    case, name = cell
    limit_s = duel.plan.step_timeout_s
    setting = dataclasses.replace(duel.setting(case, 0), inputs_seed=draws.inputs_seed)
    records: list[PairRecord] = []
    duel.watch.step(case, name, f"warm-up of {side}")
    try:
        (lane,) = pool.ready([name])
    except LaneFault as fault:
        raise RunFailed(f"the {side}'s lanes can't start: {fault.reason}") from fault
    try:
        lane.ask(Foresee(case), MemoryForecast, limit_s)
        lane.ask(Prepare(case, setting.inputs_seed), Done, limit_s)
        lane.ask(FirstCall(), Done, limit_s)
        for stage, seed in zip(STAGES, draws.rows_seeds, strict=True):
            checked = lane.ask(Check(stage, seed), CheckResult, limit_s)
            records.append(agreement_record(setting, name, stage, checked, seed))
        weighed = lane.ask(Weigh(), WeighResult, limit_s)
        records.append(memory_record(setting, name, weighed, NO_NVML))
        lane.ask(Drop(), Done, limit_s)
    except LaneFault as fault:
        records.append(fault_record(setting, name, fault))
    duel.store.append(msgspec.structs.replace(record, side=side) for record in records)
    return records
