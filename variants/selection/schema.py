"""A selection: for each measured problem of one device, the variant to use and all candidates.

Files are JSON, one for each hardware key, and are read as data from a stranger: a size, type, name
or number out of range refuses the whole file in one line. Nothing here imports torch.
"""

from typing import Annotated, Literal

import msgspec

from variants.host.hardware import Hardware

SCHEMA = 1
RUNS_AT_MOST = 256

Objective = Literal["eager", "graph", "memory"]
ProblemDtype = Literal["float32", "bfloat16", "float16"]

_Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
_Factor = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
_Milliseconds = Annotated[float, msgspec.Meta(ge=1e-9, le=1e9)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_NO_CONTROLS = rf"^(?![\s\S]*[{_CONTROLS}])"
"""No control anywhere, as Python and JavaScript read it: only Python has \\Z, and $ lets \\n by."""
_Text = Annotated[str, msgspec.Meta(max_length=400, pattern=_NO_CONTROLS)]
_Texts = Annotated[dict[_Text, _Text], msgspec.Meta(max_length=32)]


class Problem(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The problem that a variant is chosen for: a suite Case whose sequences have one length."""

    heads: _Count
    kv_heads: _Count
    head_dim: _Count
    q_len: _Count
    kv_len: _Count
    dtype: ProblemDtype
    mode: Literal["forward", "backward", "decode"] = "forward"
    batch: _Count = 1
    causal: bool = True
    layout: Literal["bhnd", "bnhd"] = "bhnd"
    scale: Literal["1/sqrt(d)", "1/d"] = "1/sqrt(d)"
    slope_scale: Literal["1", "1/sqrt(d)"] = "1"
    bias_max: _Factor = 8.0
    logit_scale: _Factor = 1.0

    @property
    def shape(self) -> str:
        """All but lengths, dtype and mode in words; usual values are left out."""
        words = f"{self.batch} x {self.heads} heads of {self.head_dim}"
        words += f" ({self.kv_heads} kv)" if self.kv_heads != self.heads else ""
        words += "" if self.causal else ", bidirectional"
        words += f", bias max {self.bias_max:g}" if self.bias_max != 8 else ""
        words += ", slopes over sqrt(d)" if self.slope_scale != "1" else ""
        words += f", scale {self.scale}" if self.scale != "1/sqrt(d)" else ""
        words += f", {self.layout}" if self.layout != "bhnd" else ""
        words += f", logit scale {self.logit_scale:g}" if self.logit_scale != 1 else ""
        return words


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A variant that agreed with the oracle, with its measurements.

    `score` is the figure that the objective ranks by: milliseconds of a call (eager), milliseconds
    of its work on the device (graph), or bytes (memory). `over_first` is its ratio to the lowest
    score, from pairs where the two raced each other. Intervals are of 95%, over passes in fresh
    processes; they are None for under three passes.
    """

    variant: _Text
    score: Annotated[float, msgspec.Meta(ge=1e-9, le=2.0**50)]
    over_first: _Factor = 1.0
    over_first_ci: tuple[_Factor, _Factor] | None = None
    time_ms: _Milliseconds
    time_ci_ms: tuple[_Milliseconds, _Milliseconds] | None
    passes: _Count
    error: _Share
    error_budget: _Share
    peak_bytes: _Bytes | None
    persistent_bytes: _Bytes | None

    def __post_init__(self) -> None:
        for value, interval in (
            (self.time_ms, self.time_ci_ms),
            (self.over_first, self.over_first_ci),
        ):
            if interval is not None and not interval[0] <= value <= interval[1]:
                raise ValueError(f"{self.variant}: {value} lies outside of its interval")

    @property
    def bytes(self) -> int | None:
        """Return the most bytes that a call takes, plus what the variant stores between calls."""
        if self.peak_bytes is None or self.persistent_bytes is None:
            return None
        return self.peak_bytes + self.persistent_bytes


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The variant for one problem, the reason, and all candidates by rising score."""

    problem: Problem
    variant: _Text
    why: _Text
    candidates: Annotated[tuple[Candidate, ...], msgspec.Meta(min_length=1, max_length=64)]

    def __post_init__(self) -> None:
        names = [candidate.variant for candidate in self.candidates]
        if len(set(names)) < len(names) or self.variant not in names:
            raise ValueError(f"{self.variant!r} is not one of the candidates, each named once")


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The choices for one device, and the measurements that they come from.

    `software` is everything that computed, a GPU's driver included. With other software, or another
    number of `threads`, a selection is stale. `measured` lists the last runs that it was made from:
    when, and at which commit.
    """

    schema: Literal[1]
    hardware: Hardware
    software: _Texts
    threads: _Count
    policy: _Texts
    objective: Objective
    max_memory_bytes: _Bytes | None
    max_error: _Share | None
    measured: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=RUNS_AT_MOST)]
    choices: Annotated[tuple[Choice, ...], msgspec.Meta(max_length=10_000)]

    def __post_init__(self) -> None:
        if len({choice.problem for choice in self.choices}) < len(self.choices):
            raise ValueError("a problem is chosen for twice")
        texts = [part for part in msgspec.structs.astuple(self.hardware) if isinstance(part, str)]
        if any(not text.isprintable() or len(text) > 400 for text in texts):
            raise ValueError("the device's words are over 400 characters, or none for people")
        if self.hardware.cores < 1:
            raise ValueError(f"the device has {self.hardware.cores} cores")
