"""Invented results for pages: two devices, a history, hostile words, and many cells."""

import msgspec

from suite.cases.case import Case, Dtype, Mode
from suite.records.record import Record, RunHeader
from suite.records.store import Results
from tests.records import (
    a_canary,
    a_case,
    a_check,
    a_fault,
    a_limit,
    a_machine,
    a_memory,
    a_plan,
    a_time,
    results,
)
from tests.reports.histories import header, header_with, noisy

MARKUP = "</script><script>document.title = 'stolen'</script><b>bold</b> & | `code`"
LENGTHS = (512, 1024, 2048)
MS = {"no_bias": 4.0, "native_window": 2.0, "flex": 3.0}


def page_cell(
    case: Case, variant: str, ms: float, density: float | None = None, heaviness: int = 1
) -> list[Record]:
    """Return a cell's records in three passes, with memory, and perhaps with a density."""
    records: list[Record] = [a_memory(case, variant, peak_bytes=heaviness * case.kv_len << 12)]
    for number in (1, 2, 3):
        time = a_time(case, variant, ms * case.kv_len / 512, number)
        records += [a_check(case, variant, number), msgspec.structs.replace(time, density=density)]
    return records


def a_device(name: str = "Invented CPU, 2 cores", key: str = "cpu-invented-2cores") -> Results:
    """Return a file of three lengths, two modes and two dtypes, in which eager is out of memory."""
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16")
    modes: tuple[Mode, ...] = ("forward", "backward")
    cases = [
        a_case(length, dtype, mode) for mode in modes for dtype in dtypes for length in LENGTHS
    ]
    records: list[Record] = [a_limit("float32"), a_limit("bfloat16")]
    for case in cases:
        for variant, ms in MS.items():
            is_window = variant == "native_window"
            records += page_cell(case, variant, ms, density=0.5 if is_window else None)
        records.append(a_fault(case, "eager", status="out_of_memory", reason=MARKUP))
    plan = a_plan(*cases, variants=[*MS, "eager"], passes=3)
    return results(_with_name(a_machine(plan, key=key), name), *records)


def two_devices() -> list[Results]:
    """Return the files of two devices, the second of which has markup for a name."""
    return [a_device(), a_device(f"Other {MARKUP}", "cpu-other-2cores")]


RUNS = 24
STEPS = {
    "eager": [1.0] * 6 + [1.05] * 18,
    "flex": [1.0] * 12 + [0.9] * 12,
    "native_window": [1.0] * 18 + [1.06] * 6,
    "no_bias": [1.0] * 24,
}
"""Levels by run: a slower step of the code, one of torch, and one that the canary shares."""


def a_history() -> list[Results]:
    """Return 24 runs of two lengths, each of a commit of its own, with the steps of STEPS.

    The steps are those of 512 keys; at 1024 nothing moves. Torch is newer from run 12 on. Flex
    crashes in run 3, and run 15 of eager was disturbed.
    """
    levels = {name: noisy(own, seed=number) for number, (name, own) in enumerate(STEPS.items())}
    flat = {name: noisy([1.0] * RUNS, seed=9 + number) for number, name in enumerate(STEPS)}
    canaries = noisy([7.0] * 18 + [7.0 * 1.06] * 6, seed=8)
    files = []
    for run in range(RUNS):
        records: list[Record] = [a_canary(median_ms=canaries[run])]
        for case, times in ((a_case(512), levels), (a_case(1024), flat)):
            for variant in STEPS:
                if (variant, run) == ("flex", 3):
                    records.append(a_fault(case, variant, status="crashed", reason=MARKUP))
                else:
                    records += _three_passes(case, variant, times[variant][run], run)
        plan = a_plan(a_case(512), a_case(1024), variants=list(STEPS), passes=3)
        own = header(run, torch="2.13.0" if run < 12 else "2.14.1")
        files.append(results(header_with(own, plan=plan), *records))
    return files


def _three_passes(case: Case, variant: str, ms: float, run: int) -> list[Record]:
    records: list[Record] = []
    for number, factor in ((1, 0.998), (2, 1.0), (3, 1.002)):
        time = a_time(case, variant, ms * factor, number)
        busy = 9 if (variant, run) == ("eager", 15) else 0
        records += [
            a_check(case, variant, number),
            msgspec.structs.replace(time, disturbed=busy),
        ]
    return records


def many_cells(count: int) -> Results:
    """Return a file of so many cells, each with all figures and a long reason in every tenth.

    The last variant takes 64 times the memory of the others.
    """
    variants = [f"./kernels/kernel_{number}.py" for number in range(20)]
    cases = [a_case(64 * (number + 1)) for number in range(count // len(variants))]
    records: list[Record] = [a_limit()]
    for case in cases:
        for number, variant in enumerate(variants):
            if number % 10:
                heaviness = 64 if number == len(variants) - 1 else 1
                records += page_cell(case, variant, 1.234567 + number, 0.1234567, heaviness)
            else:
                records.append(a_fault(case, variant, reason="no kernel for this shape; " * 8))
    return results(a_machine(a_plan(*cases, variants=variants, passes=3)), *records)


def _with_name(header: RunHeader, name: str) -> RunHeader:
    hardware = msgspec.structs.replace(header.hardware, name=name)
    return msgspec.structs.replace(header, hardware=hardware)
