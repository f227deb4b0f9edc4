"""What holds for a whole race."""

import math
from dataclasses import dataclass
from typing import Literal

from suite.cases.case import Case
from suite.conditions.nvml import Absent, MemoryLevel, NvmlGpu
from suite.lanes.handle import LaneFault
from suite.lanes.protocol import Checked, Weighed
from suite.race.watch import Watch
from suite.records.record import Agreement, Fault, Memory


@dataclass(frozen=True)
class Setting:
    """What holds for a whole race; `cold` names the variants whose compile cache is still empty."""

    case: Case
    pass_number: int
    race: int
    seed: int
    step_timeout_s: float
    cold: frozenset[str]
    watch: Watch
    gpu: NvmlGpu | Absent


def agreement_record(
    setting: Setting, variant: str, stage: Literal["before", "after"], checked: Checked
) -> Agreement:
    """Return what a check found; an error that is no finite number becomes None."""
    return Agreement(
        case=setting.case,
        variant=variant,
        pass_number=setting.pass_number,
        stage=stage,
        agrees=checked.agrees,
        error=checked.error if math.isfinite(checked.error) else None,
        budget=checked.budget,
        where=checked.where,
    )


def memory_record(
    setting: Setting, variant: str, weighed: Weighed, risen: MemoryLevel | Absent
) -> Memory:
    """Return what weighing found, with the driver's figure or why there is none."""
    return Memory(
        case=setting.case,
        variant=variant,
        pass_number=setting.pass_number,
        peak_bytes=weighed.peak_bytes,
        persistent_bytes=weighed.persistent_bytes,
        resident_bytes=weighed.resident_bytes,
        reserved_bytes=weighed.reserved_bytes,
        nvml_bytes=risen.bytes if isinstance(risen, MemoryLevel) else None,
        nvml=risen.reason if isinstance(risen, Absent) else f"rise of the {risen.scope}",
    )


def fault_record(setting: Setting, variant: str, fault: LaneFault) -> Fault:
    """Return why a cell has no time."""
    return Fault(
        case=setting.case,
        variant=variant,
        pass_number=setting.pass_number,
        status=fault.status,
        step=fault.step,
        reason=fault.reason,
    )
