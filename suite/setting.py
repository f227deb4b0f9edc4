"""What holds for a whole race."""

from dataclasses import dataclass

from suite.case import Case
from suite.nvml import Absent, Gpu
from suite.watch import Watch


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
    gpu: Gpu | Absent
