"""Invented records and results files, for tests of whatever reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from suite.cases.case import Case, Dtype, Mode
from suite.cases.plan import Plan
from suite.conditions.policy import Circumstances, Policy
from suite.records.record import (
    SCHEMA,
    Agreement,
    Canary,
    CellRecord,
    Fault,
    Limit,
    Memory,
    Pair,
    Record,
    RunHeader,
    Stage,
    Status,
    Time,
    Versus,
)
from suite.records.store import Results, Store
from variants.host.hardware import Cpu

VARIANTS = ("no_bias", "eager", "flex")
FAULTS: tuple[Status, ...] = ("unsupported", "crashed", "timed_out", "out_of_memory", "failed")


def a_case(length: int = 512, dtype: Dtype = "float32", mode: Mode = "forward") -> Case:
    """Return a causal square case of 8 heads of 64."""
    return Case(
        heads=8, head_dim=64, q_len=length, kv_len=length, kv_heads=8, dtype=dtype, mode=mode
    )


def a_plan(*cases: Case, variants: Sequence[str] = VARIANTS, passes: int = 1) -> Plan:
    """Return a plan; without cases, of the one case that `a_case` returns."""
    return Plan(
        cases=cases or (a_case(),),
        variants=tuple(variants),
        passes=passes,
        seed=0,
        step_timeout_s=60.0,
    )


def a_machine(
    plan: Plan | None = None,
    *,
    key: str = "cpu-invented-2cores",
    torch: str = "2.13.0",
    threads: int = 2,
    commit: str = "0" * 40,
    started: str = "2026-01-02T03:04:05+00:00",
) -> RunHeader:
    """Return the first record of a run on a machine that nobody has."""
    return RunHeader(
        schema=SCHEMA,
        started=started,
        argv=("run",),
        hardware=Cpu(
            key=key,
            name="Invented CPU, 2 cores",
            vendor="invented",
            family="6",
            model="1",
            stepping="0",
            features=("avx2",),
            cores=2,
        ),
        software={"torch": torch, "triton": "absent"},
        policy=Policy(threads=threads, malloc={}, omp_wait_policy="default", clock="cpu"),
        circumstances=Circumstances(
            python="3.11.7",
            kernel="6.1",
            container=False,
            governor="unknown",
            load_1m=0.1,
            commit=commit,
            uncommitted=False,
        ),
        plan=plan or a_plan(),
    )


def a_canary(pass_number: int = 1, median_ms: float = 7.0) -> Canary:
    """Return a pass's canary."""
    return Canary(pass_number=pass_number, what="1024 x 1024 float32 product", median_ms=median_ms)


def a_limit(dtype: Dtype = "float32", pass_number: int = 1) -> Limit:
    """Return the limit of a device of 2 TFLOP/s and 50 GB/s."""
    return Limit(pass_number=pass_number, dtype=dtype, flops_per_s=2e12, bytes_per_s=5e10)


def a_time(
    case: Case,
    variant: str,
    ms: float | Sequence[float] = 1.0,
    pass_number: int = 1,
    *,
    rounds: Sequence[int] = (),
    calls_per_sample: int = 1,
    cold: bool = False,
) -> Time:
    """Return the time of a variant that takes so many milliseconds a call in each round."""
    by_round = [ms] * 5 if isinstance(ms, float | int) else ms
    numbers = rounds or range(1, len(by_round) + 1)
    samples_ns = [round(each * 1e6 * calls_per_sample) for each in by_round]
    return Time(
        case=case,
        variant=variant,
        pass_number=pass_number,
        turns=tuple(
            (number, (sample, sample)) for number, sample in zip(numbers, samples_ns, strict=True)
        ),
        calls_per_sample=calls_per_sample,
        taken=2 * len(samples_ns),
        stopped_by="median known within 2%",
        prepare_s=0.01,
        first_call_s=0.5,
        cold=cold,
        kernels=(),
    )


def a_check(
    case: Case,
    variant: str,
    pass_number: int = 1,
    *,
    stage: Literal["before", "after"] = "before",
    error: float | None = 1e-7,
    budget: float = 1e-6,
) -> Agreement:
    """Return a check, which agrees when its error is within its budget."""
    return Agreement(
        case=case,
        variant=variant,
        pass_number=pass_number,
        stage=stage,
        agrees=error is not None and error <= budget,
        error=error,
        budget=budget,
        where="out, batch 0 head 3",
    )


def a_memory(
    case: Case, variant: str, pass_number: int = 1, *, peak_bytes: int = 3 << 20
) -> Memory:
    """Return the weight of a variant that keeps a mebibyte; there is no GPU."""
    return Memory(
        case=case,
        variant=variant,
        pass_number=pass_number,
        peak_bytes=peak_bytes,
        persistent_bytes=1 << 20,
        resident_bytes=4 << 20,
        reserved_bytes=None,
        nvml_bytes=None,
        nvml="the run uses no GPU",
    )


def a_fault(
    case: Case,
    variant: str,
    pass_number: int = 1,
    *,
    status: Status = "unsupported",
    reason: str = "no kernel for this; try another",
) -> Fault:
    """Return a fault in the first call."""
    return Fault(
        case=case,
        variant=variant,
        pass_number=pass_number,
        status=status,
        step="FirstCall",
        reason=reason,
    )


def a_pair(
    case: Case,
    variant: str,
    pair_number: int = 1,
    *,
    stage: Stage = "first",
    ratio: float | Sequence[float] = 1.0,
) -> Pair:
    """Return a pair in which head takes so many times base's millisecond in each round."""
    by_round = [ratio] * 5 if isinstance(ratio, float | int) else ratio
    return Pair(
        case=case,
        variant=variant,
        pair_number=pair_number,
        stage=stage,
        rounds=tuple((1e6, 1e6 * each) for each in by_round),
    )


def a_versus(
    pairs: tuple[int, int] = (6, 6),
    *,
    base: str = "main",
    gate: float = 0.01,
    injected: dict[str, float] | None = None,
) -> Versus:
    """Return what opens the pairs of this tree against a base."""
    software = {"torch": "2.13.0", "triton": "absent"}
    return Versus(
        base=base,
        head="this tree",
        base_software=software,
        head_software=software,
        pairs=pairs,
        gate=gate,
        injected=injected or {},
    )


def a_cell(
    case: Case, variant: str, ms: float | Sequence[float] = 1.0, pass_number: int = 1
) -> list[CellRecord]:
    """Return the records of a cell in which all went well."""
    return [
        a_check(case, variant, pass_number),
        a_check(case, variant, pass_number, stage="after"),
        a_time(case, variant, ms, pass_number, cold=pass_number == 1),
    ]


def a_few_records() -> tuple[Record, ...]:
    """Return five records, each of another kind."""
    case = a_case()
    return (
        a_canary(),
        a_check(case, "eager"),
        a_time(case, "eager"),
        a_limit(),
        a_fault(case, "flex"),
    )


def results(header: RunHeader, *records: Record) -> Results:
    """Return what reading a whole results file gives."""
    return Results(Path("invented.jsonl"), header, [header, *records], [])


def a_run(
    ms: Mapping[str, Sequence[float]],
    *others: Record,
    header: RunHeader | None = None,
    canaries: Sequence[float] = (),
    name: str = "invented.jsonl",
) -> Results:
    """Return a file in which each variant took so many milliseconds in each pass."""
    case = a_case()
    records: list[Record] = [a_canary(number, each) for number, each in enumerate(canaries, 1)]
    records += [a_limit(pass_number=number) for number in range(1, len(canaries) + 1)]
    for variant, by_pass in ms.items():
        for number, each in enumerate(by_pass, start=1):
            records += a_cell(case, variant, each, number)
    plan = a_plan(case, variants=list(ms), passes=3)
    return results(header or a_machine(plan), *records, *others)._replace(path=Path(name))


def write(path: Path, header: RunHeader, *records: Record) -> Path:
    """Write a results file and return its path."""
    store = Store(path)
    store.append([header, *records])
    store.close()
    return path


def complete(plan: Plan) -> list[CellRecord]:
    """Return the records of a run in which all went well."""
    return [
        record
        for number in range(1, plan.passes + 1)
        for case in plan.cases
        for variant in plan.variants
        for record in a_cell(case, variant, 2.0 + len(variant), number)
    ]
