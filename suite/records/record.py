"""The lines of a results file: a header, then records of each cell in each pass."""

import math
from typing import Literal

import msgspec

from suite.cases.case import Case, Dtype
from suite.cases.plan import Plan
from suite.clocks.series import SeriesName
from suite.conditions.policy import Circumstances, Policy
from suite.records.limits import (
    MOST_BYTES,
    MOST_COUNT,
    MOST_NS,
    MOST_NUMBER,
    MOST_S,
    check_range,
    check_turns,
    check_words,
)
from variants.host.hardware import Hardware

SCHEMA = 2

Status = Literal[
    "measured",
    "unsupported",
    "disagrees",
    "implausible",
    "out_of_memory",
    "skipped",
    "timed_out",
    "crashed",
    "failed",
]
"""What became of a cell."""

CheckStage = Literal["before", "after", "small"]
PairSide = Literal["base", "head"]
SIDES: tuple[PairSide, ...] = ("base", "head")
Stage = Literal["first", "second"]


class _Line(msgspec.Struct, frozen=True, tag_field="record", forbid_unknown_fields=True):
    """A line of a results file; its JSON field `record` is the kind of record."""


class RunHeader(_Line, frozen=True, tag="machine"):
    """The first line of a run: when, with which command line, on which machine, by which plan."""

    schema: int
    started: str
    argv: tuple[str, ...]
    hardware: Hardware
    software: dict[str, str]
    policy: Policy
    circumstances: Circumstances
    plan: Plan

    def __post_init__(self) -> None:
        check_range(self.hardware, 1, MOST_COUNT, "cores")
        check_words(self.hardware)
        check_range(self.policy, 1, MOST_COUNT, "threads")
        check_range(self.plan, 1, MOST_COUNT, "passes")
        check_range(self.plan, 1e-3, MOST_S, "step_timeout_s")


class Canary(_Line, frozen=True, tag="canary"):
    """The time of a matrix product of fixed shape: how fast the machine was as a pass began."""

    pass_number: int
    what: str
    median_ms: float

    def __post_init__(self) -> None:
        check_range(self, 0, MOST_COUNT, "pass_number")
        check_range(self, 1e-9, MOST_NS / 1e6, "median_ms")


class Limit(_Line, frozen=True, tag="limit"):
    """The peak rates of the device in a dtype: of a large matrix product and of a large copy.

    The copy's rate counts bytes read and bytes written.
    """

    pass_number: int
    dtype: Dtype
    flops_per_s: float
    bytes_per_s: float

    def __post_init__(self) -> None:
        check_range(self, 0, MOST_COUNT, "pass_number")
        check_range(self, 1e-9, MOST_NUMBER, "flops_per_s", "bytes_per_s")


class Agreement(_Line, frozen=True, tag="agreement"):
    """How far a variant was from the float64 oracle: before or after timing, or in a small case.

    The small case has two batch entries, grouped heads and an odd length; a variant is checked in
    it once a run and dtype, also with tokens that are far larger than others. The inputs were drawn
    from `inputs_seed`, the rows that were compared in float64 from `rows_seed`; both are fresh in
    each run, and 0 in files that an older version wrote.

    `error` and `budget` are relative L2 norms. They belong to the head or row that came closest to
    its budget, or went furthest over it, and `where` names it. An error of None means a NaN, an
    infinity, or a wrong shape or dtype.
    """

    case: Case
    variant: str
    pass_number: int
    stage: CheckStage
    agrees: bool
    error: float | None
    budget: float
    where: str
    side: PairSide = "head"
    inputs_seed: int = 0
    rows_seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, 0, MOST_COUNT, "pass_number")
        check_range(self, 0, MOST_NUMBER, "error", "budget")
        if self.agrees != (self.error is not None and self.error <= self.budget):
            raise ValueError(f"agrees is {self.agrees}, its error {self.error} of {self.budget}")

    @property
    def excess(self) -> float:
        """The error as a multiple of its budget; infinite if the error is None."""
        return math.inf if self.error is None else self.error / max(self.budget, 1e-300)

    @property
    def finding(self) -> str:
        """The error in words, and the multiple of its budget."""
        if self.error is None:
            return "no finite error"
        times = f"{self.excess:.3g} times its budget of {self.budget:.1e}"
        return f"error {self.error:.1e}, {times}"


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A series of samples that is not a call's cost; `turns` is (round, nanoseconds).

    A sample may be 0 ns, where a device's clock is too coarse for a call.
    """

    name: SeriesName
    turns: tuple[tuple[int, tuple[int, ...]], ...]

    def __post_init__(self) -> None:
        check_turns(self.turns, 0)


class Time(_Line, frozen=True, tag="time"):
    """One variant's samples in one race.

    `turns` is (round, sample times in nanoseconds) of the series named `cost`, `others` has the
    other series (suite.clocks.series). A sample is the elapsed time of `calls_per_sample` calls; in
    decode a call is one step. The lane took `taken` samples, of which the file has at most 200,
    evenly spaced within each turn. Two times share rounds only if their `race` is equal.

    If `cold` is true, `first_call_s` began with an empty compile cache. `kernels` are the attention
    kernels of one profiled call, recorded once a run. `density` is the share of unmasked pairs
    that a call computes, for variants that leave some out. `chose` is the variant that `auto`
    picked. `thread_pools` are the BLAS and OpenMP runtimes that the lane had loaded.

    `disturbed` counts attempts at a turn while other processes held the cores, `throttled` those
    that heat or a power brake slowed. `steps` counts decode steps in all turns, `recompilations`
    the graphs that torch.compile made in them. On CUDA `retaken` counts host-bound samples, and
    `sm_clock_mhz` has the lowest and the highest SM clock around turns, `slowed_by` what the driver
    says lowered it. `outside_ns` is a call's time by the parent's clock, in calls whose results
    nobody inspects.
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
    slowed_by: tuple[str, ...] = ()
    steps: int = 0
    recompilations: int = 0
    density: float | None = None
    chose: str | None = None
    outside_ns: float | None = None
    thread_pools: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_turns(self.turns, 1)
        check_range(self, 1, 1 << 31, "calls_per_sample")
        check_range(self, 0, MOST_S, "prepare_s", "first_call_s")
        check_range(self, 0, MOST_NUMBER, "density")
        check_range(self, 0, MOST_COUNT, "pass_number", "taken", "retaken", "throttled")
        check_range(self, 0, MOST_COUNT, "disturbed", "steps", "recompilations")


class Memory(_Line, frozen=True, tag="memory"):
    """The memory of one untimed call, in bytes.

    `peak_bytes` is the most that was allocated at once, less what was allocated before the call.
    `persistent_bytes` is what the variant keeps between calls. `resident_bytes` (CPU) is the growth
    of the resident set, `reserved_bytes` (CUDA) is what the allocator holds. `nvml_bytes` is the
    rise of the driver's memory level; `nvml` says whether of the process or of the whole device,
    or why there is no figure.
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

    def __post_init__(self) -> None:
        check_range(self, 0, MOST_COUNT, "pass_number")
        check_range(self, 0, MOST_BYTES, "peak_bytes", "persistent_bytes", "resident_bytes")
        check_range(self, 0, MOST_BYTES, "reserved_bytes", "nvml_bytes")


class Fault(_Line, frozen=True, tag="fault"):
    """Why a cell has no time: a status, the step that failed, and a reason a person can act on."""

    case: Case
    variant: str
    pass_number: int
    status: Status
    step: str
    reason: str
    side: PairSide = "head"

    def __post_init__(self) -> None:
        check_range(self, 0, MOST_COUNT, "pass_number")
        if self.status == "measured":
            raise ValueError("a fault's status is not measured")


class Versus(_Line, frozen=True, tag="versus"):
    """The two sides of a file of pairs, and the plan that was fixed before the first pair.

    `pairs` has two numbers: the pairs of the first stage, and those of the second stage if there is
    one suspect. `gate` is the least change (a share) that may raise an alarm. `injected` has the
    slowdown (a share) planted in a cell of the head's side, by the cell's name.
    """

    base: str
    head: str
    base_software: dict[str, str]
    head_software: dict[str, str]
    pairs: tuple[int, int]
    gate: float
    injected: dict[str, float] = {}

    def __post_init__(self) -> None:
        check_range(self, 0, 1e3, "gate")
        if not all(0 <= pairs <= MOST_COUNT for pairs in self.pairs):
            raise ValueError(f"pairs {self.pairs} are not from 0 to {MOST_COUNT}")
        if not all(-1 < share <= 1e3 for share in self.injected.values()):
            raise ValueError("an injected slowdown is a share over -1, at most 1000")


class Pair(_Line, frozen=True, tag="pair"):
    """One pair of fresh processes, which timed a cell side by side.

    `rounds` has (base, head) of each round: nanoseconds a call, the median of a turn. Cells of one
    `pair_number` were measured in the same stretch of time. `disturbed` counts attempts at a turn
    while other processes held the cores.
    """

    case: Case
    variant: str
    pair_number: int
    stage: Stage
    rounds: tuple[tuple[float, float], ...]
    disturbed: int = 0

    def __post_init__(self) -> None:
        times_ns = [time_ns for both in self.rounds for time_ns in both]
        if not times_ns or min(times_ns) < 1e-3 or max(times_ns) > MOST_NS:
            raise ValueError(f"a pair needs rounds, with times from 0.001 to {MOST_NS:g} ns")
        check_range(self, 0, MOST_COUNT, "pair_number", "disturbed")


Record = RunHeader | Canary | Limit | Agreement | Time | Memory | Fault | Versus | Pair
CellRecord = Agreement | Time | Memory | Fault
PairRecord = Agreement | Memory | Fault | Pair
CellOrPair = CellRecord | Pair
