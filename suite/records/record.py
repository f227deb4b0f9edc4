"""The lines of a results file: who measured, and what became of each cell in each pass."""

import math
from typing import Literal

import msgspec

from suite.cases.case import Case, Dtype
from suite.cases.plan import Plan
from suite.clocks.series import SeriesName
from suite.conditions.policy import Circumstances, Policy
from variants.host.hardware import Hardware

SCHEMA = 2

Status = Literal[
    "measured",
    "unsupported",
    "disagrees",
    "out_of_memory",
    "skipped",
    "timed_out",
    "crashed",
    "failed",
]


PairSide = Literal["base", "head"]
SIDES: tuple[PairSide, ...] = ("base", "head")
Stage = Literal["first", "second"]


class _Line(msgspec.Struct, frozen=True, tag_field="record", forbid_unknown_fields=True):
    """A line of a results file; its field `record` names its kind."""


class RunHeader(_Line, frozen=True, tag="machine"):
    """The first line of a run."""

    schema: int
    started: str
    argv: tuple[str, ...]
    hardware: Hardware
    software: dict[str, str]
    policy: Policy
    circumstances: Circumstances
    plan: Plan


class Canary(_Line, frozen=True, tag="canary"):
    """The time of a matrix product of fixed shape, once a pass: how fast the machine was then."""

    pass_number: int
    what: str
    median_ms: float


class Limit(_Line, frozen=True, tag="limit"):
    """What the device does at most in a dtype: a large matrix product's rate, and a large copy's.

    The copy counts the bytes read and the bytes written.
    """

    pass_number: int
    dtype: Dtype
    flops_per_s: float
    bytes_per_s: float


class Agreement(_Line, frozen=True, tag="agreement"):
    """How far a variant was from the float64 oracle, before or after it was timed.

    `error` and `budget` are relative L2 figures of the tensor and grouping (heads or rows) that
    came closest to its budget, or went furthest over it; `where` names the spot. An error of None
    is no finite number: the answer had a NaN or an infinity in it.
    """

    case: Case
    variant: str
    pass_number: int
    stage: Literal["before", "after"]
    agrees: bool
    error: float | None
    budget: float
    where: str
    side: PairSide = "head"

    @property
    def excess(self) -> float:
        """The error as a multiple of its budget; infinite where it is no finite number."""
        return math.inf if self.error is None else self.error / max(self.budget, 1e-300)

    @property
    def finding(self) -> str:
        """The error and how many times its budget it is, in words."""
        if self.error is None:
            return "no finite error"
        times = f"{self.excess:.3g} times its budget of {self.budget:.1e}"
        return f"error {self.error:.1e}, {times}"


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A series of samples beside the one that is a call's cost: (round, nanoseconds)."""

    name: SeriesName
    turns: tuple[tuple[int, tuple[int, ...]], ...]


class Time(_Line, frozen=True, tag="time"):
    """One variant's samples in one race: `turns` holds (round, sample times in nanoseconds).

    A sample is the elapsed time of `calls_per_sample` calls. The lane took `taken` samples; the
    file has at most 200 of them, evenly spaced within each turn. `turns` is the series named
    `cost`, and `others` are the series beside it (suite.clocks.series). Two times share rounds
    only if their `race` is the same.

    `first_call_s` met an empty compile cache if `cold` is true. `kernels` are the attention kernels
    of one profiled call, once a run. `density` is the share of all causal pairs that a call looked
    at, for variants that leave some out. `chose` is the variant that `auto` picked.

    `disturbed` counts turns that were repeated because other processes held the cores, `throttled`
    those that heat or a power brake slowed. `steps` of decode were taken in all turns and
    `recompilations` graphs compiled; in decode a call is one step. On CUDA `retaken` counts
    host-bound samples, and `sm_clock_mhz` is the least and the most clock between turns.
    """

    case: Case
    variant: str
    pass_number: int
    turns: tuple[tuple[int, tuple[int, ...]], ...]
    calls_per_sample: int
    taken: int
    stopped_by: str
    prepare_s: float
    first_call_s: float
    cold: bool
    kernels: tuple[str, ...]
    race: int = 0
    cost: SeriesName = "call"
    others: tuple[Series, ...] = ()
    retaken: int = 0
    throttled: int = 0
    disturbed: int = 0
    sm_clock_mhz: tuple[int, int] | None = None
    steps: int = 0
    recompilations: int = 0
    density: float | None = None
    chose: str | None = None

    def __post_init__(self) -> None:
        if not self.turns or any(not samples or min(samples) <= 0 for _, samples in self.turns):
            raise ValueError("a time needs turns, each with samples over 0 ns")
        if self.calls_per_sample < 1:
            raise ValueError("a sample is at least one call")


class Memory(_Line, frozen=True, tag="memory"):
    """What one untimed call took, in bytes.

    `peak_bytes` is the most allocated at once over what was there before, `persistent_bytes` what
    the variant keeps between calls. `resident_bytes` (CPU) is how far the resident set rose,
    `reserved_bytes` (CUDA) what the allocator held. `nvml_bytes` is the rise that the driver saw,
    of the process or of the whole device as `nvml` says; without it `nvml` says why.
    """

    case: Case
    variant: str
    pass_number: int
    peak_bytes: int
    persistent_bytes: int
    resident_bytes: int | None
    reserved_bytes: int | None
    nvml_bytes: int | None
    nvml: str
    side: PairSide = "head"


class Fault(_Line, frozen=True, tag="fault"):
    """Why a cell has no time: a status other than measured and a reason a person can act on."""

    case: Case
    variant: str
    pass_number: int
    status: Status
    step: str
    reason: str
    side: PairSide = "head"


class Versus(_Line, frozen=True, tag="versus"):
    """What a file of pairs compares, and how it was planned before anything was measured.

    `pairs` are the numbers of pairs of the first stage and of the second for one suspect, `gate`
    the least change that may raise an alarm, and `injected` the slowdown put into a cell of the
    head's, by its name.
    """

    base: str
    head: str
    base_software: dict[str, str]
    head_software: dict[str, str]
    pairs: tuple[int, int]
    gate: float
    injected: dict[str, float] = {}


class Pair(_Line, frozen=True, tag="pair"):
    """One pair of fresh processes: of each round what a call took (base, head), in nanoseconds.

    A figure is the median of a slice. `pair_number` is shared by the cells measured together.
    `disturbed` counts slices that were repeated because other processes were on the cores.
    """

    case: Case
    variant: str
    pair_number: int
    stage: Stage
    rounds: tuple[tuple[float, float], ...]
    disturbed: int = 0

    def __post_init__(self) -> None:
        if not self.rounds or min(map(min, self.rounds)) <= 0:
            raise ValueError("a pair needs rounds, each with times over 0 ns")


Record = RunHeader | Canary | Limit | Agreement | Time | Memory | Fault | Versus | Pair
CellRecord = Agreement | Time | Memory | Fault
PairRecord = Agreement | Memory | Fault | Pair
Ended = CellRecord | Pair
