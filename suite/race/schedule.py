"""The order in which cases are raced, and whether a time budget has room for the next race."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, zip_longest
from random import Random

import msgspec

from suite.cases.case import Case
from suite.cases.plan import Plan

_LENGTHS = {"q_len", "kv_len", "seq_lens", "q_lens"}
"""The fields in which cases of one row may differ."""


class Schedule:
    """The order of a run's cases, and with a budget (seconds) the point where the run stops.

    With a budget the first pass takes cases in coverage order. It stops early enough that later
    passes can race the same cases again. A later race is expected to take as long as the first one
    did without preparing and first calls.
    """

    def __init__(
        self, plan: Plan, budget_s: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the budget's clock."""
        self._plan = plan
        self._budget_s = budget_s
        self._clock = clock
        self._began = clock()
        self._warm_s: dict[Case, float] = {}
        self._longest_s = 0.0
        self._start_s = 0.0

    def order(self, number: int, cases: Sequence[Case]) -> list[Case]:
        """Return a pass's cases: in coverage order in the first pass of a budget, else shuffled."""
        if self._budget_s is not None and number == 1:
            return coverage_order(cases)
        return Random(f"{self._plan.seed} {number}").sample(list(cases), len(cases))

    def has_time_for(self, case: Case, number: int) -> bool:
        """Whether this race, and the later ones it obliges the run to, should end in time."""
        if self._budget_s is None:
            return True
        remaining_s = self._budget_s - (self._clock() - self._began)
        if number > 1 and case in self._warm_s:
            return self._warm_s[case] <= remaining_s
        if number > 1 and self._warm_s:
            return False
        later_s = self._start_s + sum(self._warm_s.values())
        later_s += max(self._warm_s.values(), default=0.0)
        return self._longest_s + (self._plan.passes - number) * later_s < remaining_s

    def note_start(self, seconds: float) -> None:
        """Note how long a pass took before its first race."""
        self._start_s = max(self._start_s, seconds)

    def note_race(self, case: Case, seconds: float, starting_s: float) -> None:
        """Note how long a race took, and how much of that was preparing and first calls."""
        self._longest_s = max(self._longest_s, seconds)
        self._warm_s[case] = max(seconds - starting_s, self._warm_s.get(case, 0.0))


def coverage_order(cases: Sequence[Case]) -> list[Case]:
    """Return cases so that the first few already cover the grid: middle lengths come first.

    Cases that differ only in length make a row. Each row gives its middle length, then the middles
    of its halves, and so on. Rows take turns.
    """
    rows: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        values = msgspec.structs.asdict(case)
        row = tuple(value for name, value in values.items() if name not in _LENGTHS)
        rows.setdefault(row, []).append(case)
    orders = [_middles_first(sorted(row, key=lambda case: case.kv_len)) for row in rows.values()]
    return [case for case in chain.from_iterable(zip_longest(*orders)) if case is not None]


def _middles_first(row: Sequence[Case]) -> Iterator[Case]:
    spans = deque([(0, len(row))])
    while spans:
        low, high = spans.popleft()
        if low < high:
            middle = (low + high) // 2
            yield row[middle]
            spans += [(low, middle), (middle + 1, high)]
