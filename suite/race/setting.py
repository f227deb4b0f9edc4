"""The setting of a race, and the records that a lane's answers become in it."""

import math
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from suite.cases.case import Case, Dtype
from suite.cases.plan import Cell
from suite.clocks.series import DeviceRate
from suite.conditions.nvml import Absent, MemoryLevel, NvmlGpu
from suite.lanes.handle import LaneFault
from suite.lanes.protocol import CheckResult, KernelNames, WeighResult
from suite.race.watch import Watch
from suite.records.limits import MOST_NUMBER
from suite.records.record import Agreement, CheckStage, Fault, Memory


class Deadlines(NamedTuple):
    """Until when variants enter a race, and take more turns than a few, by time.monotonic()."""

    enter_s: float = math.inf
    turns_s: float = math.inf

    @property
    def are_far(self) -> bool:
        """Whether the run has no budget."""
        return math.isinf(self.enter_s)

    def has_time_to_enter(self) -> bool:
        """Whether another variant may enter."""
        return time.monotonic() < self.enter_s

    def has_time_for_turns(self) -> bool:
        """Whether turns may go on until medians are known well."""
        return time.monotonic() < self.turns_s


class SmallCheck(NamedTuple):
    """What a variant answered in the small case; None where it declines that case."""

    result: CheckResult | None
    seed: int


@dataclass(frozen=True)
class Evidence:
    """What a run has learnt so far: each variant's small check, what calls do, the device's rates.

    `small_checks` are by variant and dtype, `profiled` and `needed_bytes` (of a call, None where
    only a call can tell) by case and variant, `rates` by dtype.
    """

    small_checks: dict[tuple[str, Dtype], SmallCheck] = field(default_factory=dict)
    profiled: dict[Cell, KernelNames] = field(default_factory=dict)
    needed_bytes: dict[Cell, int | None] = field(default_factory=dict)
    rates: dict[Dtype, DeviceRate] = field(default_factory=dict)

    def note_rates(self, rates: Iterable[DeviceRate]) -> None:
        """Keep the faster of each rate that is noted and of these."""
        for rate in rates:
            before = self.rates.get(rate.dtype, rate)
            self.rates[rate.dtype] = rate.faster_of(before)


def fresh_seed() -> int:
    """Return a number that a lane can't know before it is sent: 31 random bits."""
    return secrets.randbits(31)


@dataclass(frozen=True)
class Setting:
    """What all variants of one race share.

    Records of one race have the same number `race`. `cold` names the variants whose compile cache
    has nothing for the case yet. All variants get the inputs of `inputs_seed`, a number that nobody
    knew before this race.
    """

    case: Case
    pass_number: int
    race: int
    step_timeout_s: float
    cold: frozenset[str]
    watch: Watch
    gpu: NvmlGpu | Absent
    evidence: Evidence = field(default_factory=Evidence)
    deadlines: Deadlines = field(default_factory=Deadlines)
    inputs_seed: int = field(default_factory=fresh_seed)


def agreement_record(
    setting: Setting, variant: str, stage: CheckStage, result: CheckResult, rows_seed: int
) -> Agreement:
    """Return the record of a check; an error that is no number, or over 1e30, becomes None."""
    return Agreement(
        case=setting.case,
        variant=variant,
        pass_number=setting.pass_number,
        stage=stage,
        agrees=result.agrees,
        error=result.error if result.error <= MOST_NUMBER else None,
        budget=result.budget,
        where=result.where,
        inputs_seed=rows_seed if stage != "before" else setting.inputs_seed,
        rows_seed=rows_seed,
    )


def memory_record(
    setting: Setting, variant: str, result: WeighResult, rise: MemoryLevel | Absent
) -> Memory:
    """Return the record of a weighing; `rise` is the driver's figure, or why it is absent."""
    return Memory(
        case=setting.case,
        variant=variant,
        pass_number=setting.pass_number,
        peak_bytes=result.peak_bytes,
        persistent_bytes=result.persistent_bytes,
        resident_bytes=result.resident_bytes,
        reserved_bytes=result.reserved_bytes,
        nvml_bytes=rise.bytes if isinstance(rise, MemoryLevel) else None,
        nvml=rise.reason if isinstance(rise, Absent) else f"rise of the {rise.scope}",
    )


def fault_record(setting: Setting, variant: str, fault: LaneFault) -> Fault:
    """Return the record of the fault that ended a cell."""
    return Fault(
        case=setting.case,
        variant=variant,
        pass_number=setting.pass_number,
        status=fault.status,
        step=fault.step,
        reason=fault.reason,
    )
