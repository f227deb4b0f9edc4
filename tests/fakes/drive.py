"""Run fake variants over tiny cases, or resume: `python -m tests.fakes.drive FILE NAMES...`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from reports.commands.progress import PlainProgress
from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.conditions.device import device_for
from suite.records.fingerprint import run_header
from suite.records.store import Store, read
from suite.run import Run
from tests.fakes.in_process import take_few_turns
from variants.catalog import Variant

VARIANTS = (
    Variant("no_bias", "tests.fakes.baseline", answers="no_bias"),
    Variant("first", "tests.fakes.first"),
    Variant("second", "tests.fakes.second"),
)
LENGTHS = (16, 24)


NAMES = tuple(variant.name for variant in VARIANTS)


def plan(
    step_timeout_s: float,
    passes: int,
    lengths: Sequence[int] = LENGTHS,
    names: Sequence[str] = NAMES,
) -> Plan:
    """Return the plan of a tiny case for each length."""
    cases = [
        Case(heads=2, kv_heads=2, head_dim=8, q_len=length, kv_len=length, dtype="float32")
        for length in lengths
    ]
    return Plan(tuple(cases), tuple(names), passes, 0, step_timeout_s)


def drive(file: Path, wanted: Plan) -> None:
    """Measure what `file` lacks of a plan."""
    finished = read(file).finished_cells() if file.exists() else frozenset()
    header = run_header(wanted, sys.argv, device_for("cpu"))
    store = Store(file)
    try:
        store.append([header])
        Run(header.plan, VARIANTS, header.policy, store, PlainProgress()).measure(finished)
    finally:
        store.close()


if __name__ == "__main__":
    take_few_turns(pytest.MonkeyPatch())
    drive(Path(sys.argv[1]), plan(60.0, passes=1, names=sys.argv[2:]))
