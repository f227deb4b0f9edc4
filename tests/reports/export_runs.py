"""A run and a history to export, and the programs of those who read exports."""

import json
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from suite.conditions.policy import ROOT
from suite.records.record import CellRecord, RunHeader
from suite.records.store import Results
from tests.records import a_case, a_cell, a_check, a_fault, a_machine, a_memory, a_plan, results

READERS = ROOT / ".venv-exports" / "bin"
KEY = "cpu-invented-2cores"
CELL = "n512-h8-d64-float32/flex"
COMMITS = 24
STEP_AT = 14
"""The commit from which on flex takes a tenth longer."""


def a_finished_run(passes: int = 3, header: RunHeader | None = None) -> Results:
    """Return a run with two measured cells, one that disagrees and one that is unsupported."""
    case = a_case()
    records: list[CellRecord] = [a_memory(case, "flex", peak_bytes=3 << 20)]
    for number, ms in zip(range(1, passes + 1), (3.0, 3.3, 2.7), strict=False):
        records += a_cell(case, "no_bias", 2.0, number)
        records += a_cell(case, "flex", ms, number)
    records += [a_check(case, "eager", error=1e-5), a_fault(case, "compile", reason="no compiler")]
    names = ["no_bias", "flex", "eager", "compile"]
    return results(header or a_machine(a_plan(case, variants=names, passes=passes)), *records)


def a_history(commits: Sequence[str] = ()) -> list[Results]:
    """Return runs of commits, a day each, in which flex becomes slower and no_bias doesn't."""
    noise = random.Random(20260102)
    case = a_case()
    return [
        results(
            a_machine(
                a_plan(case, variants=["no_bias", "flex"], passes=3),
                commit=commit,
                started=f"2026-01-{number + 1:02d}T03:04:05+00:00",
            ),
            *(
                record
                for variant, ms in (("no_bias", 1.0), ("flex", 1.1 if number >= STEP_AT else 1.0))
                for pass_number in (1, 2, 3)
                for record in a_cell(case, variant, ms * noise.gauss(1, 0.01), pass_number)
            ),
        )
        for number, commit in enumerate(commits or invented_commits())
    ]


def invented_commits() -> list[str]:
    """Return as many commits as a history has; they differ in their first digits."""
    return [f"{number + 1:04x}" * 10 for number in range(COMMITS)]


def decode(text: str) -> Any:
    """Return what a JSON text holds. A NaN is an error, as it is to most readers."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def reader(program: str, *words: object, folder: Path) -> str:
    """Run a program of the environment of readers in a folder, and return what it printed."""
    path = READERS / program
    if not path.exists():
        pytest.fail(f"{path} is missing: make .venv-exports/.complete installs it")
    done = subprocess.run(
        [path, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
