"""Which case is raced next, and whether there is time for it: a run within a budget of time."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, zip_longest
from random import Random

import msgspec

from suite.cases.case import Case
from suite.cases.plan import Plan


class Schedule:
    """The order of cases, and with a budget (in seconds) an end to it.

    The first pass then takes the most telling cases first, and stops while there is still time
    for those cases in the passes that follow; what later passes cost is what the first did without
    its cold starts.
    """

    def __init__(
        self, plan: Plan, budget_s: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin now."""
        self._plan = plan
        self._budget_s = budget_s
        self._clock = clock
        self._began = clock()
        self._warm_s: dict[Case, float] = {}
        self._longest_s = 0.0
        self._start_s = 0.0

    def order(self, number: int, cases: Sequence[Case]) -> list[Case]:
        """Return a pass's cases: shuffled, or in the first pass of a budget the telling first."""
        if self._budget_s is not None and number == 1:
            return coverage_order(cases)
        return Random(f"{self._plan.seed} {number}").sample(list(cases), len(cases))

    def has_time_for(self, case: Case, number: int) -> bool:
        """Whether a race is expected to end in time, with those that must follow it."""
        if self._budget_s is None:
            return True
        left_s = self._budget_s - (self._clock() - self._began)
        if number > 1 and case in self._warm_s:
            return self._warm_s[case] <= left_s
        if number > 1 and self._warm_s:
            return False
        later_s = self._start_s + sum(self._warm_s.values())
        later_s += max(self._warm_s.values(), default=0.0)
        return self._longest_s + (self._plan.passes - number) * later_s < left_s

    def started(self, seconds: float) -> None:
        """Note how long a pass took before its first race."""
        self._start_s = max(self._start_s, seconds)

    def raced(self, case: Case, seconds: float, starting_s: float) -> None:
        """Note how long a race took, and how much of that was preparing and first calls."""
        self._longest_s = max(self._longest_s, seconds)
        self._warm_s[case] = max(seconds - starting_s, self._warm_s.get(case, 0.0))


def coverage_order(cases: Sequence[Case]) -> list[Case]:
    """Return cases so that the first few of them cover the grid: middle lengths before others.

    Cases that differ in length alone make a row; each row is halved again and again, and the rows
    take turns.
    """
    rows: dict[tuple[str, int, str, Case], list[Case]] = {}
    for case in cases:
        alike = msgspec.structs.replace(
            case, mode="forward", q_len=1, kv_len=1, batch=1, seq_lens=(), form="padded"
        )
        rows.setdefault((case.mode, case.batch, case.form, alike), []).append(case)
    halved = [_middles_first(sorted(row, key=lambda case: case.kv_len)) for row in rows.values()]
    return [case for case in chain.from_iterable(zip_longest(*halved)) if case is not None]


def _middles_first(row: Sequence[Case]) -> Iterator[Case]:
    waiting = deque([(0, len(row))])
    while waiting:
        low, high = waiting.popleft()
        if low < high:
            middle = (low + high) // 2
            yield row[middle]
            waiting += [(low, middle), (middle + 1, high)]
