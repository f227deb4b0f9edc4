"""What `compare` makes of the same code and of planted slowdowns, by what it does with canaries.

    python -m benchmarks.verdicts.compare_canaries        # prints the tables of docs/verdicts.md

Each comparison is of the same code: two files of a device, of all that git has ever had under
results/published, over the cells that one commit measured in both and those of no_bias, which is
torch's. The runs that `aa` recorded have no canaries; they show what `compare` finds without.
"""

import math
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tabulate import tabulate

from benchmarks.verdicts.history_steps import recorded_passes
from reports.tables.estimates import PASSES_FOR_INTERVAL, log_median_ms
from reports.verdicts.cell_state import CANARY_SPREAD, run_states
from reports.verdicts.compare_runs import Logs, decide_runs
from reports.verdicts.decision import Decision
from suite.cases.plan import Cell
from suite.records.fingerprint import differences
from suite.records.record import SIDES, Canary, RunHeader, Time
from suite.records.store import Results, StoreError, read
from variants.catalog import BASELINE

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"
GATE = 0.01
EFFECTS = (0.03, 0.05, 0.10)
MACHINE = 0.10
"""The share by which another machine is slower or faster."""
CELLS_TO_SLOW = 4
"""How many cells of a comparison are slowed, one at a time, by each of EFFECTS."""
COMPARISONS_OF_PAIRS = 200
"""How many comparisons are drawn from the runs that `aa` recorded."""
Sides = Mapping[Cell, tuple[Logs, Logs]]


class PublishedRun(NamedTuple):
    """A file's log times in ms by cell and pass, the same over its canaries, and the canaries."""

    header: RunHeader
    plain: dict[Cell, dict[int, float]]
    divided: dict[Cell, dict[int, float]]
    log_canaries: dict[int, list[float]]


class SameCode(NamedTuple):
    """A comparison of the same code: its times plain and divided by canaries.

    `canary` is log(head / base) of the runs' canaries; `differ` says that those of two passes do.
    """

    plain: Sides
    divided: Sides
    canary: float
    differ: bool


Rule = Callable[[SameCode], dict[Cell, Decision]]


def as_measured(same: SameCode) -> dict[Cell, Decision]:
    """Decide without a look at canaries."""
    return decide_runs(same.plain, GATE)


def at_both_ends(same: SameCode) -> dict[Cell, Decision]:
    """Decide as measured, if the same holds with the canary's move taken off; else inconclusive."""
    if abs(same.canary) <= math.log(CANARY_SPREAD):
        return as_measured(same)
    rest = {
        cell: (base, tuple(log - same.canary for log in head))
        for cell, (base, head) in same.plain.items()
    }
    others = decide_runs(rest, GATE)
    return {
        cell: decision
        if decision.verdict == others[cell].verdict
        else decision._replace(verdict="inconclusive")
        for cell, decision in as_measured(same).items()
    }


def by_division(same: SameCode) -> dict[Cell, Decision]:
    """Decide as `compare` does: divided where the canaries of any two passes differ."""
    return decide_runs(same.divided if same.differ else same.plain, GATE)


RULES: dict[str, Rule] = {
    "as measured": as_measured,
    "at both ends": at_both_ends,
    "divided": by_division,
}


def published_files(folder: Path) -> list[Results]:
    """Return the results files of git's history, each run once; their texts go into a folder."""
    log = _git("log", "--format=%h", "--diff-filter=AM", "--name-only", "--", "*/*.jsonl")
    files: dict[tuple[str, str], Results] = {}
    commit = ""
    for line in filter(None, log.splitlines()):
        if "/" not in line:
            commit = line
            continue
        path = folder / "it.jsonl"
        path.write_text(_git("show", f"{commit}:{line}"))
        with suppress(StoreError):  # of an older schema
            file = read(path)
            files.setdefault((file.header.hardware.key, file.header.started), file)
    return list(files.values())


def _git(*words: str) -> str:
    return subprocess.check_output(["git", "-C", PUBLISHED, *words], text=True)


def published_runs(files: Sequence[Results]) -> list[PublishedRun]:
    """Return the runs of three passes and more whose passes all have a canary."""
    return [
        published_run(file)
        for file in files
        if file.header.plan.passes >= PASSES_FOR_INTERVAL
        and {it.pass_number for it in file.records if isinstance(it, Time)}
        <= {it.pass_number for it in file.records if isinstance(it, Canary)}
    ]


def published_run(file: Results) -> PublishedRun:
    """Return a file's times. A time's canary is the last one before it in its pass."""
    states = run_states(file, normalise=False)
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
            max(both) - min(both) > math.log(CANARY_SPREAD),
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


def on_another_machine(same: SameCode, by: float) -> SameCode:
    """Return a comparison whose head ran where all times, the canary's too, are longer by a share.

    Divided times stay as they are.
    """
    canary = same.canary + math.log1p(by)
    return SameCode(slow_head(same.plain, by), same.divided, canary, differ=True)


def false_alarms(rule: Rule, group: Sequence[SameCode]) -> int:
    """Return in how many comparisons a rule calls a cell slower."""
    return sum(
        any(decision.verdict == "slower" for decision in rule(same).values()) for same in group
    )


def without_a_verdict(rule: Rule, group: Sequence[SameCode]) -> int:
    """Return in how many comparisons a rule judges no cell, so that `compare` exits 3."""
    return sum(
        all(decision.verdict == "inconclusive" for decision in rule(same).values())
        for same in group
    )


def verdicts_on_slowdowns(
    rule: Rule, group: Sequence[SameCode], by: float, machine: float = 0.0
) -> list[str]:
    """Return a rule's verdicts on slowdowns, each in one cell, perhaps on another machine."""
    random = Random("cells")
    verdicts: list[str] = []
    for same in group:
        for cell in random.sample(list(same.plain), min(CELLS_TO_SLOW, len(same.plain))):
            plain, divided = (slow_head(it, by, cell) for it in (same.plain, same.divided))
            slower = same._replace(plain=plain, divided=divided)
            if machine:
                slower = on_another_machine(slower, machine)
            verdicts.append(rule(slower)[cell].verdict)
    return verdicts


def table(group: Sequence[SameCode], rules: Mapping[str, Rule]) -> str:
    """Return a table of what rules do in comparisons of the same code."""
    slower = [on_another_machine(same, MACHINE) for same in group]
    lines = []
    for name, rule in rules.items():
        found = (verdicts_on_slowdowns(rule, group, by).count("slower") for by in EFFECTS)
        hidden = verdicts_on_slowdowns(rule, group, EFFECTS[-1], -MACHINE)
        passed = hidden.count("same") + hidden.count("faster")
        lines.append(
            (
                name,
                f"{false_alarms(rule, group)} of {len(group)}",
                f"{false_alarms(rule, slower)} of {len(group)}",
                *(f"{count / len(hidden):.0%}" for count in found),
                f"{passed / len(hidden):.0%}",
                f"{without_a_verdict(rule, group)} of {len(group)}",
            )
        )
    headers = ("times", "slower", "slower machine", *(f"+{by:.0%}" for by in EFFECTS), "hidden")
    alignment = ("left", *["right"] * 7)
    return tabulate(lines, (*headers, "no verdict"), disable_numparse=True, colalign=alignment)


def spreads(runs: Sequence[PublishedRun]) -> str:
    """Return in a sentence what dividing each pass by its canary does to the spread of passes."""
    differing = [
        run
        for run in runs
        for logs in [[log for each in run.log_canaries.values() for log in each]]
        if max(logs) - min(logs) > math.log(CANARY_SPREAD)
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
    over = sum(abs(same.canary) > math.log(CANARY_SPREAD) for same in group)
    largest = math.expm1(max(abs(same.canary) for same in group))
    return (
        f"The canaries of two files differ by over 5% in {over} of {len(group)} "
        f"comparisons, by {largest:.0%} at most."
    )


def tables() -> list[str]:
    """Return all tables, in the order of the page."""
    with TemporaryDirectory() as folder:
        runs = published_runs(published_files(Path(folder)))
    pairs = list(of_two_files(runs))
    groups = [pairs, [same for same in pairs if same.differ]]
    return [
        spreads(runs),
        moves(pairs),
        *(table(group, RULES) for group in groups),
        table(list(of_recorded_pairs()), {"as measured": as_measured}),
    ]


if __name__ == "__main__":
    print("\n\n".join(tables()))
