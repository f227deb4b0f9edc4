"""The setting of a race, and the records that a lane's answers become in it."""

import math
from dataclasses import dataclass
from typing import Literal

from suite.cases.case import Case
from suite.conditions.nvml import Absent, MemoryLevel, NvmlGpu
from suite.lanes.handle import LaneFault
from suite.lanes.protocol import CheckResult, WeighResult
from suite.race.watch import Watch
from suite.records.record import Agreement, Fault, Memory


@dataclass(frozen=True)
class Setting:
    """What all variants of one race share.

    Records of one race have the same number `race`. `cold` names the variants whose compile cache
    has nothing for the case yet.
    """

    case: Case
    pass_number: int
    race: int
    seed: int
    step_timeout_s: float
    cold: frozenset[str]
    watch: Watch
    gpu: NvmlGpu | Absent


def agreement_record(
    setting: Setting, variant: str, stage: Literal["before", "after"], result: CheckResult
) -> Agreement:
    """Return the record of a check; an error that is no finite number becomes None."""
    return Agreement(
        case=setting.case,
        variant=variant,
        pass_number=setting.pass_number,
        stage=stage,
        agrees=result.agrees,
        error=result.error if math.isfinite(result.error) else None,
        budget=result.budget,
        where=result.where,
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
