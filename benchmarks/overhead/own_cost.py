"""The cost of alibi-bench itself: its start, its tables, its race, and how well ratios repeat.

    python benchmarks/overhead/own_cost.py

Takes some five minutes; run it on a quiet machine. CONTRIBUTING.md quotes the figures.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from reports.tables.cells import groups
from reports.tables.row import Row
from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.cases.sweeps import SWEEPS
from suite.conditions.device import device_for
from suite.records.fingerprint import run_header
from suite.records.record import Agreement, CellOrPair, CellRecord, Time
from suite.records.store import Store, read
from suite.run import Run
from variants.catalog import CATALOG, on

ROOT = Path(__file__).resolve().parents[2]
CELLS, SAMPLES, LENGTHS = 10_000, 50, 200
RATIO_LENGTHS = (512, 1024)
REPEATS_WITHIN = 0.02


def main() -> None:
    """Measure everything; print one table and the ratios that did not repeat."""
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder, "big.jsonl")
        write_invented_results(big)
        first, timed = run_races(Path(folder, "first.jsonl"))
        second, _ = run_races(Path(folder, "second.jsonl"))
        repeats = match_ratios(first, second)
        differences = [repeat.difference for repeat in repeats]
        lines = [
            ("--help, s", "< 0.4", f"{wall(['--help'], 11):.2f}"),
            (f"table of {CELLS} cells, s", "< 3", f"{wall(['table', str(big)], 3):.2f}"),
            ("timed share of the race", ">= 50%", f"{min(timed):.0%} to {max(timed):.0%}"),
            (
                f"ratios to no_bias, two runs, {len(differences)} cells",
                f"within {REPEATS_WITHIN:.0%}",
                f"{sum(share <= REPEATS_WITHIN for share in differences)} within; "
                f"median {statistics.median(differences):.1%}, worst {max(differences):.1%}",
            ),
        ]
    print(tabulate(lines, ("figure", "aim", "measured"), disable_numparse=True))
    print(moved_table(repeats))


def wall(words: Sequence[str], times: int) -> float:
    """Return the median wall time in seconds of a command line."""

    def once() -> float:
        start = time.perf_counter()
        command = [sys.executable, "run_bench.py", *words]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    return statistics.median(once() for _ in range(times))


def write_invented_results(file: Path) -> None:
    """Write a results file of 10,000 measured cells with 50 samples each."""
    cases = [
        Case(heads=heads, kv_heads=heads, head_dim=64, q_len=n, kv_len=n, dtype="bfloat16")
        for heads in range(1, 1 + CELLS // len(CATALOG) // LENGTHS)
        for n in range(1, 1 + LENGTHS)
    ]
    cases += [
        Case(heads=99, kv_heads=99, head_dim=64, q_len=n, kv_len=n, dtype="bfloat16")
        for n in range(1, 1 + -(-CELLS // len(CATALOG)) - len(cases))
    ]
    names = tuple(variant.name for variant in CATALOG)
    plan = Plan(tuple(cases), names, 1, 0, 120.0)
    store = Store(file)
    store.append([run_header(plan, ["invented"], device_for("cpu"))])
    for case in cases:
        store.append(record for name in names for record in _invent_records(case, name))
    store.close()


def _invent_records(case: Case, variant: str) -> tuple[CellRecord, ...]:
    check = Agreement(case, variant, 1, "before", True, 1e-3, 2e-2, "out, batch 0 head 0")
    turns = tuple((one, tuple(1_000_000 + 997 * (k % 7) for k in range(10))) for one in range(5))
    stop = "median known within 2%"
    return check, Time(case, variant, 1, turns, 1, SAMPLES, stop, 0.0, 0.1, True, ())


class Stopwatch:
    """An observer of a run that records when its races begin and end."""

    def __init__(self) -> None:
        self.races: dict[str, list[float]] = {}
        self._current: list[float] = []

    def begin(self, cells: int) -> None:
        """Do nothing: the run has begun, but no race has."""

    def step(self, case: Case, variant: str, doing: str) -> None:
        """Record a race's first turn as its begin, and the first check after it as its end."""
        if doing.startswith("round") and not self._current:
            self._current = [time.perf_counter()]
        elif doing == "check again" and len(self._current) == 1:
            self._current.append(time.perf_counter())

    def note(self, text: str) -> None:
        """Do nothing: a note is of no race's time."""

    def report(self, title: str, records: Sequence[CellOrPair], cells: int) -> None:
        """Store the two instants of the race that ended."""
        self.races[title] = self._current
        self._current = []


def run_races(file: Path) -> tuple[list[Row], list[float]]:
    """Run every variant over two lengths; return the rows and each race's timed share."""
    grid = SWEEPS["quick"]._replace(lengths=RATIO_LENGTHS, dtypes=("bfloat16",))
    plan = Plan(tuple(grid.cases()), tuple(v.name for v in on("cpu")), grid.passes, 0, 120.0)
    header = run_header(plan, sys.argv, device_for("cpu"))
    store, watch = Store(file), Stopwatch()
    store.append([header])
    Run(plan, CATALOG, header.policy, store, watch).measure()
    store.close()
    results = read(file)
    times = [record for record in results.records if isinstance(record, Time)]
    spent_s: dict[str, float] = {}
    for one in times:
        what = f"pass {one.pass_number}, {one.case.id}"
        spent_s[what] = spent_s.get(what, 0.0) + timed_s(one)
    shares = [spent_s[what] / (end - start) for what, (start, end) in watch.races.items()]
    return groups([results])[0].rows, shares


def timed_s(time_record: Time) -> float:
    """Return the seconds that a cell's samples took, including samples that are not stored."""
    stored_ns = [sample for _, turn in time_record.turns for sample in turn]
    return statistics.fmean(stored_ns) * time_record.taken / 1e9


class Repeat(NamedTuple):
    """A cell's ratio to the baseline in two runs."""

    case: str
    variant: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        """Return the difference between the first and the second run's ratio, over the second."""
        return abs(self.first / self.second - 1)


def match_ratios(first: Sequence[Row], second: Sequence[Row]) -> list[Repeat]:
    """Return the ratios of the cells that have one in both runs."""
    second_ratios = {(row.case, row.variant): row.vs_no_bias for row in second}
    pairs = [
        (row, row.vs_no_bias, second_ratios[row.case, row.variant])
        for row in first
        if row.vs_no_bias is not None and row.answers == "alibi"
    ]
    return [
        Repeat(row.case, row.variant, first_ratio, second_ratio)
        for row, first_ratio, second_ratio in pairs
        if second_ratio is not None
    ]


def moved_table(repeats: Sequence[Repeat]) -> str:
    """Return a table of the cells whose ratio did not repeat, the worst first."""
    over = sorted(
        (one for one in repeats if one.difference > REPEATS_WITHIN), key=lambda one: -one.difference
    )
    if not over:
        return f"\nNo ratio moved by over {REPEATS_WITHIN:.0%}."
    lines = [
        (one.case, one.variant, f"{one.first:.3f}", f"{one.second:.3f}", f"{one.difference:.1%}")
        for one in over
    ]
    columns = ("case", "variant", "first run", "second run", "apart")
    heading = f"\nRatios to no_bias that moved by over {REPEATS_WITHIN:.0%}:\n"
    return heading + tabulate(lines, columns, disable_numparse=True)


if __name__ == "__main__":
    main()
