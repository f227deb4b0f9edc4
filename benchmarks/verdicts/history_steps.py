"""How often `history` sees a step that isn't there, and finds one that is, in recorded runs.

    python -m benchmarks.verdicts.history_steps        # prints the tables of docs/verdicts.md

The runs are the pairs that `aa` recorded on one machine, of the same code: 10 in each of 20
invocations. Three successive pairs are a run of three passes, so there are 60 runs. Each pair has
two sides, so each of its 8 cells gives two series. Steps are planted by slowing all runs from some
place on.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from tabulate import tabulate

from reports.history.change_points import PENALTY, change_points, plausible_places, step_effect
from reports.verdicts.calibration import CountRate
from reports.verdicts.moderated_t import interval
from suite.cases.plan import Cell
from suite.records.record import SIDES, Pair, PairSide
from suite.records.store import read

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"
FILES = "cpu-intel-6.207.2-avx2-avx512f-bf16-fp16-2cores/aa/*.jsonl"
PASSES = 3
SHUFFLES, PLANTED_SHUFFLES = 50, 25
LENGTHS = (8, 12, 20, 40, 60)
EFFECTS = (0.03, 0.05, 0.10)
PLACES = ((5, 3), (6, 6), (10, 10), (17, 3), (30, 30), (50, 10), (57, 3))
"""Runs before a planted step and from it on."""
PENALTIES = (2.0, 3.0, 5.0, PENALTY, 12.0)

Logs = list[float]
"""The natural logarithm of a cell's time in each run."""


def recorded_passes() -> dict[tuple[Cell, PairSide], list[Logs]]:
    """Return the passes of each recorded run, in the order of recording, by cell and side."""
    series: dict[tuple[Cell, PairSide], list[Logs]] = {}
    for path in sorted(PUBLISHED.glob(FILES)):
        by_cell: dict[Cell, list[Pair]] = {}
        for record in read(path).records:
            if isinstance(record, Pair) and record.stage == "first":
                by_cell.setdefault((record.case, record.variant), []).append(record)
        for cell, pairs in by_cell.items():
            for place, side in enumerate(SIDES):
                passes = [_log_time(pair, place) for pair in pairs]
                whole = len(passes) - len(passes) % PASSES
                series.setdefault((cell, side), []).extend(
                    passes[first : first + PASSES] for first in range(0, whole, PASSES)
                )
    return series


def recorded_series() -> dict[str, Logs]:
    """Return the 16 series of recorded runs, in their order, by cell and side."""
    return {
        f"{variant} {case.id} {side}": [statistics.fmean(passes) for passes in runs]
        for ((case, variant), side), runs in recorded_passes().items()
    }


def _log_time(pair: Pair, side: int) -> float:
    return math.log(statistics.median(times[side] for times in pair.rounds))


def random_samples(series: Sequence[Logs], runs: int, times: int, seed: str) -> Iterator[Logs]:
    """Yield `times` random samples of so many runs from each series, in random order."""
    random = Random(f"{seed} {runs}")
    for logs in series:
        for _ in range(times):
            yield random.sample(logs, runs)


def plant_step(logs: Sequence[float], before: int, effect: float) -> Logs:
    """Return a series in which all runs after the first `before` are slower by a share."""
    return [log + math.log1p(effect) * (run >= before) for run, log in enumerate(logs)]


def is_found(logs: Sequence[float], before: int, penalty: float = PENALTY) -> bool:
    """Return whether a series has a slower step within one run of a place."""
    places = change_points(logs, penalty)
    edges = [0, *places, len(logs)]
    return any(
        abs(place - before) <= 1 and step_effect(logs[low:place], logs[place:high]).estimate > 0
        for low, place, high in zip(edges, edges[1:], edges[2:], strict=False)
    )


def steps_as_recorded(series: dict[str, Logs]) -> str:
    """Return a table of the steps that the recorded order has, where nothing was planted."""
    lines = []
    for name, logs in series.items():
        places = change_points(logs)
        edges = [0, *places, len(logs)]
        for low, place, high in zip(edges, edges[1:], edges[2:], strict=False):
            change = math.expm1(step_effect(logs[low:place], logs[place:high]).estimate)
            lines.append((name, str(place), f"{change:+.1%}"))
    return tabulate(lines, ("series", "runs before", "change"), disable_numparse=True)


def false_steps(series: Sequence[Logs]) -> str:
    """Return a table of how many shuffled series have a step, by their length."""
    lines = []
    for runs in LENGTHS:
        counts = [
            bool(change_points(logs)) for logs in random_samples(series, runs, SHUFFLES, "false")
        ]
        lines.append((str(runs), str(CountRate(sum(counts), len(counts)))))
    return tabulate(lines, ("runs", "series with a false step"), disable_numparse=True)


def found_steps(series: Sequence[Logs]) -> str:
    """Return a table of how often a planted step is found within a run of its place."""
    lines = []
    for before, after in PLACES:
        shares = []
        for effect in EFFECTS:
            sample = random_samples(series, before + after, PLANTED_SHUFFLES, "planted")
            found = [is_found(plant_step(logs, before, effect), before) for logs in sample]
            shares.append(f"{statistics.fmean(found):.0%}")
        lines.append((f"{before} + {after}", *shares))
    headers = ("runs before + after", *(f"+{effect:.0%} found" for effect in EFFECTS))
    return tabulate(lines, headers, disable_numparse=True, colalign=("right",) * len(headers))


def found_as_recorded(series: Sequence[Logs]) -> str:
    """Return a table of in how many series, in recorded order, a planted step is found."""
    lines = []
    for before in (10, 30, 50, 57):
        counts = (
            sum(is_found(plant_step(logs, before, effect), before) for logs in series)
            for effect in EFFECTS
        )
        runs = len(series[0])
        lines.append(
            (f"{before} + {runs - before}", *(f"{count} of {len(series)}" for count in counts))
        )
    headers = ("runs before + after", *(f"+{effect:.0%} found" for effect in EFFECTS))
    return tabulate(lines, headers, disable_numparse=True, colalign=("right",) * len(headers))


def penalties(series: Sequence[Logs]) -> str:
    """Return a table of false and found steps in 60 shuffled runs, by the penalty of a step."""
    lines = []
    for penalty in PENALTIES:
        rate = statistics.fmean(
            bool(change_points(logs, penalty))
            for logs in random_samples(series, 60, SHUFFLES, "false")
        )
        found = [
            statistics.fmean(
                is_found(plant_step(logs, before, effect), before, penalty)
                for logs in random_samples(series, 60, PLANTED_SHUFFLES, "planted")
            )
            for before, effect in ((30, 0.03), (50, 0.03), (57, 0.05))
        ]
        lines.append((f"{penalty:g}", f"{rate:.1%}", *(f"{share:.0%}" for share in found)))
    headers = ("penalty", "false", "+3% at 30 + 30", "+3% at 50 + 10", "+5% at 57 + 3")
    return tabulate(lines, headers, disable_numparse=True, colalign=("right",) * len(headers))


def places(series: Sequence[Logs]) -> str:
    """Return in a sentence how well steps of 3% and 5% between 30 and 30 runs are placed."""
    exact = within = named = count = total = 0
    for effect in (0.03, 0.05):
        for logs in random_samples(series, 60, PLANTED_SHUFFLES, "planted"):
            slower = plant_step(logs, 30, effect)
            if len(change_points(slower)) != 1:
                continue
            likely = plausible_places(slower, 0, 60)
            total += 1
            exact += likely[0] == 30
            within += abs(likely[0] - 30) <= 1
            named += 30 in likely
            count += len(likely)
    return (
        f"Of {total} steps found alone, {exact / total:.0%} have their first run right, "
        f"{within / total:.0%} within one run; the runs named include it in {named / total:.0%}, "
        f"and are {count / total:.1f} on average."
    )


def coverage(series: Sequence[Logs]) -> str:
    """Return in a sentence how often the 95% interval of a step has the planted size in it."""
    drawn = [
        holds
        for before, after in PLACES
        for effect in EFFECTS
        for logs in random_samples(series, before + after, PLANTED_SHUFFLES, "planted")
        for holds in _intervals_hold(logs, before, effect)
    ]
    as_recorded = [
        holds
        for before in (10, 26, 34, 42, 50)
        for logs in series
        for holds in _intervals_hold(logs, before, EFFECTS[-1])
    ]
    return (
        f"The 95% interval has the planted size in it for {statistics.fmean(drawn):.0%} of the "
        f"{len(drawn)} steps that were found in random order, but for "
        f"{sum(as_recorded)} of {len(as_recorded)} steps of 10% in the order of recording (before "
        "runs 10, 26, 34, 42 and 50): there the machine's own moves are in the levels."
    )


def _intervals_hold(logs: Sequence[float], before: int, effect: float) -> list[bool]:
    """Return for a step found within a run of its place whether its interval has its size."""
    slower = plant_step(logs, before, effect)
    edges = [0, *change_points(slower), len(slower)]
    ends = [
        interval(step_effect(slower[low:place], slower[place:high]))
        for low, place, high in zip(edges, edges[1:], edges[2:], strict=False)
        if abs(place - before) <= 1
    ]
    return [low <= math.log1p(effect) <= high for low, high in ends]


def tables() -> list[str]:
    """Return all tables, in the order of the page."""
    series = recorded_series()
    logs = list(series.values())
    return [
        steps_as_recorded(series),
        false_steps(logs),
        found_steps(logs),
        found_as_recorded(logs),
        penalties(logs),
        places(logs),
        coverage(logs),
    ]


if __name__ == "__main__":
    print("\n\n".join(tables()))
