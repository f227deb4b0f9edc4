"""From what a lane answered to the records of its cell."""

import math
from typing import Literal

from suite.handle import LaneFault
from suite.nvml import Absent, MemoryLevel
from suite.protocol import Checked, Weighed
from suite.record import Agreement, Fault, Memory
from suite.setting import Setting


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
