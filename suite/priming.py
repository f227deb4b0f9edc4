"""Before pairs are taken: fill both sides' compile caches, check and weigh every cell on each."""

from typing import Literal

import msgspec

from suite.crew import Crew
from suite.handle import LaneFault
from suite.nvml import Absent
from suite.outcome import agreement_record, fault_record, memory_record
from suite.pairs import Cell, Duel
from suite.protocol import (
    Check,
    Checked,
    Done,
    Drop,
    FirstCall,
    Foresee,
    Foreseen,
    Prepare,
    Weigh,
    Weighed,
)
from suite.record import SIDES, Agreement, Fault, PairRecord, PairSide
from suite.run import RunFailed

STAGES: tuple[Literal["before", "after"], ...] = ("before", "after")
NOT_ASKED = Absent("NVML is not asked in pairs")


def prime(duel: Duel) -> list[Cell]:
    """Return the cells that both sides agree in, with their caches filled.

    A cell of the others has its reason in the store, and which side it is. Raises RunFailed when a
    side's lanes can't be started.
    """
    sound: list[Cell] = []
    duel.watch.begin(len(duel.plan.cases) * len(duel.plan.variants))
    for name in duel.plan.variants:
        with duel.crews(name) as crews:
            for case in duel.plan.cases:
                told = [_primed(duel, side, crew, (case, name)) for side, crew in crews]
                records = [record for own in told for record in own]
                duel.watch.raced(f"priming, {case.id}", records, 1)
                if len(told) == len(SIDES) and not any(map(_is_bad, records)):
                    sound.append((case, name))
    return sound


def _is_bad(record: PairRecord) -> bool:
    return isinstance(record, Fault) or (isinstance(record, Agreement) and not record.agrees)


def _primed(duel: Duel, side: PairSide, crew: Crew, cell: Cell) -> list[PairRecord]:
    """Foresee, prepare, check and weigh; record each with its side, and return what was found."""
    case, name = cell
    limit_s = duel.plan.step_timeout_s
    setting = duel.setting(case, 0)
    records: list[PairRecord] = []
    duel.watch.step(case, name, f"priming {side}")
    try:
        (lane,) = crew.ready([name])
    except LaneFault as fault:
        raise RunFailed(f"the {side}'s lanes can't start: {fault.reason}") from fault
    try:
        lane.ask(Foresee(case), Foreseen, limit_s)
        lane.ask(Prepare(case, duel.plan.seed), Done, limit_s)
        lane.ask(FirstCall(), Done, limit_s)
        for stage in STAGES:
            checked = lane.ask(Check(stage), Checked, limit_s)
            records.append(agreement_record(setting, name, stage, checked))
        weighed = lane.ask(Weigh(), Weighed, limit_s)
        records.append(memory_record(setting, name, weighed, NOT_ASKED))
        lane.ask(Drop(), Done, limit_s)
    except LaneFault as fault:
        records.append(fault_record(setting, name, fault))
    duel.store.append(msgspec.structs.replace(record, side=side) for record in records)
    return records
