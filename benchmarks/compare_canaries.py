"""What `compare` makes of the same code and of planted slowdowns, by what it does with canaries.

    python -m benchmarks.compare_canaries        # prints the tables of docs/verdicts.md

Each comparison is of the same code, from results/published: the passes of a file in two parts, or
two files of a device, over the cells that one commit measured in both and those of no_bias, which
is torch's. The runs that `aa` recorded have no canaries; they show what `compare` finds without.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

from tabulate import tabulate

from benchmarks.history_steps import recorded_passes
from reports.tables.estimates import PASSES_FOR_INTERVAL, log_median_ms
from reports.verdicts.cell_state import run_states
from reports.verdicts.compare_runs import CANARY_LIMIT, decide_runs
from reports.verdicts.decision import Decision
from suite.cases.plan import Cell
from suite.records.fingerprint import differences
from suite.records.record import SIDES, Canary, RunHeader, Time
from suite.records.store import Results, read
from variants.catalog import BASELINE

PUBLISHED = Path(__file__).resolve().parents[1] / "results" / "published"
GATE = 0.01
EFFECTS = (0.03, 0.05, 0.10)
SLOWER_MACHINE = 0.10
CELLS_TO_SLOW = 4
"""How many cells of a comparison are slowed, one at a time, by each of EFFECTS."""
COMPARISONS_OF_PAIRS = 200
"""How many comparisons are drawn from the runs that `aa` recorded."""
DIVIDED_ABOVE = 1.05
"""The ratio of any two passes' canaries above which `compare` divided times by them once."""

Value = TypeVar("Value")
Logs = tuple[float, ...]
"""The natural logarithms of times in ms, one a pass."""
Sides = Mapping[Cell, tuple[Logs, Logs]]


class PublishedRun(NamedTuple):
    """A file's log times in ms by cell and pass, the same over its canaries, and the canaries."""

    header: RunHeader
    plain: dict[Cell, dict[int, float]]
    divided: dict[Cell, dict[int, float]]
    log_canaries: dict[int, list[float]]

    def part(self, numbers: set[int]) -> "PublishedRun":
        """Return the run with some of its passes alone."""
        plain, divided = (
            {cell: _passes_of(by_pass, numbers) for cell, by_pass in times.items()}
            for times in (self.plain, self.divided)
        )
        return PublishedRun(self.header, plain, divided, _passes_of(self.log_canaries, numbers))


class SameCode(NamedTuple):
    """A comparison of the same code: its times plain and divided by canaries.

    `canary` is log(head / base) of the runs' canaries; `differ` says that those of two passes do.
    """

    plain: Sides
    divided: Sides
    canary: float
    differ: bool


Rule = Callable[[SameCode], dict[Cell, Decision]]


def by_division(same: SameCode) -> dict[Cell, Decision]:
    """Decide as `compare` once did: divided where canaries differ."""
    return decide_runs(same.divided if same.differ else same.plain, GATE)


def as_measured(same: SameCode) -> dict[Cell, Decision]:
    """Decide without a look at canaries."""
    return decide_runs(same.plain, GATE)


def at_both_ends(same: SameCode) -> dict[Cell, Decision]:
    """Decide as `compare` does."""
    return decide_runs(same.plain, GATE, same.canary)


RULES: dict[str, Rule] = {
    "divided, as once": by_division,
    "as measured": as_measured,
    "at both ends, as now": at_both_ends,
}


def published_runs() -> list[PublishedRun]:
    """Return the published files of three passes and more."""
    files = [read(path) for path in sorted(PUBLISHED.glob("*/*.jsonl"))]
    return [published_run(file) for file in files if file.header.plan.passes >= PASSES_FOR_INTERVAL]


def published_run(file: Results) -> PublishedRun:
    """Return a file's times. A time's canary is the last one before it in its pass."""
    states = run_states(file)
    plain: dict[Cell, dict[int, list[float]]] = {}
    divided: dict[Cell, dict[int, list[float]]] = {}
    canaries: dict[int, list[float]] = {}
    for record in file.records:
        if isinstance(record, Canary):
            canaries.setdefault(record.pass_number, []).append(math.log(record.median_ms))
        elif isinstance(record, Time):
            cell, number = (record.case, record.variant), record.pass_number
            if states[cell].status == "measured":
                log = log_median_ms(record)
                plain.setdefault(cell, {}).setdefault(number, []).append(log)
                over = log - canaries[number][-1]
                divided.setdefault(cell, {}).setdefault(number, []).append(over)
    return PublishedRun(file.header, _means(plain), _means(divided), canaries)


def _means(times: dict[Cell, dict[int, list[float]]]) -> dict[Cell, dict[int, float]]:
    return {
        cell: {number: statistics.fmean(logs) for number, logs in by_pass.items()}
        for cell, by_pass in times.items()
    }


def _passes_of(by_pass: dict[int, Value], numbers: set[int]) -> dict[int, Value]:
    return {number: value for number, value in by_pass.items() if number in numbers}


def in_two_parts(runs: Sequence[PublishedRun]) -> Iterator[SameCode]:
    """Yield the comparisons of each run's passes but one with that one, in both directions."""
    for run in runs:
        numbers = set(range(1, run.header.plan.passes + 1))
        for number in sorted(numbers):
            yield from _both_ways(run.part(numbers - {number}), run.part({number}))


def of_two_files(runs: Sequence[PublishedRun]) -> Iterator[SameCode]:
    """Yield the comparisons of two runs of a device, in both directions."""
    for first, second in combinations(runs, 2):
        if not differences(first.header, second.header):
            yield from _both_ways(first, second)


def _both_ways(first: PublishedRun, second: PublishedRun) -> Iterator[SameCode]:
    is_one_commit = first.header.circumstances.code == second.header.circumstances.code
    cells = [
        cell
        for cell, by_pass in first.plain.items()
        if by_pass and second.plain.get(cell) and (is_one_commit or cell[1] == BASELINE.name)
    ]
    if not cells:
        return
    for base, head in ((first, second), (second, first)):
        before, after = (
            [log for logs in run.log_canaries.values() for log in logs] for run in (base, head)
        )
        both = [*before, *after]
        yield SameCode(
            {cell: (_logs(base.plain[cell]), _logs(head.plain[cell])) for cell in cells},
            {cell: (_logs(base.divided[cell]), _logs(head.divided[cell])) for cell in cells},
            statistics.fmean(after) - statistics.fmean(before),
            max(both) - min(both) > math.log(DIVIDED_ABOVE),
        )


def _logs(by_pass: Mapping[int, float]) -> Logs:
    return tuple(by_pass[number] for number in sorted(by_pass))


def of_recorded_pairs() -> Iterator[SameCode]:
    """Yield comparisons of two of the 60 runs that `aa` recorded, of one side of their pairs."""
    random = Random("pairs")
    passes = recorded_passes()
    runs = len(next(iter(passes.values())))
    for _ in range(COMPARISONS_OF_PAIRS):
        side = random.choice(SIDES)
        before, after = random.sample(range(runs), 2)
        plain = {
            cell: (tuple(of_run[before]), tuple(of_run[after]))
            for (cell, own), of_run in passes.items()
            if own == side
        }
        yield SameCode(plain, plain, 0.0, differ=False)


def slow_head(sides: Sides, by: float, cell: Cell | None = None) -> Sides:
    """Return sides of which head is slower by a share: in one cell, or in all."""
    shift = math.log1p(by)
    return {
        key: (base, tuple(log + shift for log in head) if cell in {None, key} else head)
        for key, (base, head) in sides.items()
    }


def on_a_slower_machine(group: Sequence[SameCode]) -> list[SameCode]:
    """Return comparisons whose head ran where all times, the canary's too, are 10% longer.

    Divided times stay as they are.
    """
    shift = math.log1p(SLOWER_MACHINE)
    return [
        SameCode(slow_head(it.plain, SLOWER_MACHINE), it.divided, it.canary + shift, differ=True)
        for it in group
    ]


def false_alarms(rule: Rule, group: Sequence[SameCode]) -> int:
    """Return in how many comparisons a rule calls a cell slower."""
    return sum(
        any(decision.verdict == "slower" for decision in rule(same).values()) for same in group
    )


def detection_share(rule: Rule, group: Sequence[SameCode], by: float) -> float:
    """Return the share of slowdowns that a rule finds, each in one cell of a comparison."""
    random = Random("cells")
    hits = []
    for same in group:
        for cell in random.sample(list(same.plain), min(CELLS_TO_SLOW, len(same.plain))):
            plain, divided = (slow_head(it, by, cell) for it in (same.plain, same.divided))
            slower = same._replace(plain=plain, divided=divided)
            hits.append(rule(slower)[cell].verdict == "slower")
    return statistics.fmean(hits)


def verdict_share(rule: Rule, group: Sequence[SameCode]) -> float:
    """Return the share of cells that have a verdict."""
    verdicts = [decision.verdict for same in group for decision in rule(same).values()]
    return statistics.fmean(verdict != "inconclusive" for verdict in verdicts)


def table(group: Sequence[SameCode], rules: Mapping[str, Rule]) -> str:
    """Return a table of what rules do in comparisons of the same code."""
    machine = on_a_slower_machine(group)
    lines = [
        (
            name,
            f"{false_alarms(rule, group)} of {len(group)}",
            f"{false_alarms(rule, machine)} of {len(group)}",
            *(f"{detection_share(rule, group, by):.0%}" for by in EFFECTS),
            f"{verdict_share(rule, group):.0%}",
        )
        for name, rule in rules.items()
    ]
    headers = ("times", "slower", "slower machine", *(f"+{by:.0%}" for by in EFFECTS), "verdicts")
    alignment = ("left", *["right"] * 6)
    return tabulate(lines, headers, disable_numparse=True, colalign=alignment)


def spreads(runs: Sequence[PublishedRun]) -> str:
    """Return in a sentence what dividing each pass by its canary does to the spread of passes."""
    differing = [
        run
        for run in runs
        for logs in [[log for each in run.log_canaries.values() for log in each]]
        if max(logs) - min(logs) > math.log(DIVIDED_ABOVE)
    ]
    before, after = (
        [_median_spread(times) for times in kind]
        for kind in zip(*((run.plain, run.divided) for run in differing), strict=True)
    )
    raised = sum(divided > plain for plain, divided in zip(before, after, strict=True))
    return (
        f"In {len(differing)} published files the canaries of the passes differ by over 5%. "
        f"Dividing each pass's times by its canary made passes differ more in {raised} of them: "
        f"the spread of the median cell was {min(before):.1%} to {max(before):.1%} without and "
        f"{min(after):.1%} to {max(after):.1%} with it."
    )


def _median_spread(times: Mapping[Cell, Mapping[int, float]]) -> float:
    return statistics.median(
        statistics.stdev(by_pass.values()) for by_pass in times.values() if len(by_pass) > 2
    )


def moves(group: Sequence[SameCode]) -> str:
    """Return in a sentence how often two runs' canaries differ by over the limit."""
    over = sum(abs(same.canary) > math.log1p(CANARY_LIMIT) for same in group)
    largest = math.expm1(max(abs(same.canary) for same in group))
    return (
        f"The canaries of two files differ by over {CANARY_LIMIT:.0%} in {over} of {len(group)} "
        f"comparisons, by {largest:.0%} at most."
    )


def tables() -> list[str]:
    """Return all tables, in the order of the page."""
    runs = published_runs()
    parts, pairs = list(in_two_parts(runs)), list(of_two_files(runs))
    differing = [[same for same in group if same.differ] for group in (parts, pairs)]
    return [
        spreads(runs),
        *(table(group, RULES) for group in differing),
        moves(pairs),
        table(list(of_recorded_pairs()), {"as measured": as_measured}),
    ]


if __name__ == "__main__":
    print("\n\n".join(tables()))
