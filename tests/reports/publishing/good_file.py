"""Results files that can be published, and the same with something wrong."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from suite.conditions.policy import policy
from suite.records.record import Record, RunHeader
from suite.records.store import Results, read
from tests.records import a_canary, a_case, a_cell, a_machine, a_plan, write

PASSES = (1, 2, 3)
VARIANTS = ("no_bias", "eager", "sdpa_key")
CASE = a_case()


def a_header(passes: int = 3, commit: str = "1" * 40) -> RunHeader:
    """Return the header of a run with the policy of published files."""
    plan = a_plan(CASE, variants=VARIANTS, passes=passes)
    usual = msgspec.structs.replace(policy("cpu", 2), omp_wait_policy="default")
    return msgspec.structs.replace(a_machine(plan, commit=commit), policy=usual)


def good_records(canaries_ms: Sequence[float] = (7.0, 7.1, 7.2), ms: float = 1.0) -> list[Record]:
    """Return the records of three passes in which all went well."""
    records: list[Record] = []
    for number, canary_ms in zip(PASSES, canaries_ms, strict=True):
        records.append(a_canary(number, canary_ms))
        for place, variant in enumerate(VARIANTS):
            records += a_cell(CASE, variant, ms * (1 + place + number / 100), number)
    return records


def a_good_file(path: Path, ms: float = 1.0) -> Results:
    """Write a file that can be published, and read it."""
    return read(write(path, a_header(), *good_records(ms=ms)))
