"""A run's time budget: which race still fits into it, and how long a step of that race may take."""

import time
from collections.abc import Callable, Mapping, Sequence

from suite.cases.case import Case
from suite.cases.plan import Cell, Plan
from suite.failures import RunFailed
from suite.race.schedule import Schedule
from suite.race.setting import Deadlines
from suite.records.record import CellRecord, Fault

HANGS = 3
"""So many variants of a race may hang before the rest of the budget is spent on them."""

LEAST_STEP_S = 5.0
"""No first race begins where a step would have less: starting and compiling take seconds."""

VARIANT_S = 6.0
"""About how long a variant takes in a pass over a case of up to 1024 keys, with its start."""


class NothingMeasured(RunFailed):
    """A budget that held no cell; the text says what would."""


class Budget(Schedule):
    """The schedule of a run that may have a budget (seconds), and the limit of its steps.

    With a budget a step may take a third of what is left, so that a variant or two that hang don't
    overrun it. A step may also take as long as the longest race so far, if that much is left,
    because a slow variant is no hang. What has not entered a race in half of the time that is left
    waits for --resume. Without a budget the plan's limit holds alone.
    """

    def __init__(
        self, plan: Plan, budget_s: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the budget's clock."""
        super().__init__(plan, budget_s, clock)
        self._longest_race_s = 0.0
        self._hang_s = 0.0
        self._cut_short: set[Cell] = set()
        self._has_cells = False

    def has_time_for(self, case: Case, number: int) -> bool:
        """Whether this race, and the later ones it obliges the run to, should end in time."""
        least_s = min(LEAST_STEP_S, self._plan.step_timeout_s)
        has_room = self._longest_race_s > 0 or self.step_limit_s() >= least_s
        return has_room and super().has_time_for(case, number)

    def step_limit_s(self) -> float:
        """Return how long a step of the next race may take; never longer than what is left."""
        if self._budget_s is None:
            return self._plan.step_timeout_s
        left_s = max(0.0, self._budget_s - (self._clock() - self._began))
        share_s = max(left_s / HANGS, self._longest_race_s)
        return min(self._plan.step_timeout_s, left_s, share_s)

    def deadlines(self) -> Deadlines:
        """Return those of the next race: its variants enter within half of what is left."""
        if self._budget_s is None:
            return Deadlines()
        now_s, end_s = self._clock(), self._began + self._budget_s
        return Deadlines((now_s + end_s) / 2, end_s)

    def note_race(self, case: Case, seconds: float, starting_s: float) -> None:
        """Note how long a race took, and how much of that was preparing and first calls.

        A variant that was cut short does not race the case again, so that its step counts no more.
        """
        super().note_race(case, seconds, starting_s + self._hang_s)
        self._longest_race_s = max(self._longest_race_s, seconds - self._hang_s)
        self._hang_s = 0.0

    def cuts_short(self, records: Sequence[CellRecord], limit_s: float) -> bool:
        """Whether the budget ended a cell that the plan would have given more time.

        Such a cell is not measured, and its variant does not race the case again in this run.
        """
        is_short = limit_s < self._plan.step_timeout_s
        for record in records:
            if is_short and isinstance(record, Fault) and record.status == "timed_out":
                self._cut_short.add((record.case, record.variant))
                self._hang_s += limit_s
                return True
        self._has_cells = True
        return False

    def remaining(self, missing: Mapping[Case, Sequence[str]]) -> dict[Case, list[str]]:
        """Return the cells, variants by case, without those that the budget has cut short."""
        cells = {
            case: [name for name in names if (case, name) not in self._cut_short]
            for case, names in missing.items()
        }
        return {case: names for case, names in cells.items() if names}

    def check_measured(self) -> None:
        """Raise NothingMeasured if no cell ended."""
        if self._has_cells:
            return
        budget_s = self._budget_s or 0.0
        variants, passes = len(self._plan.variants), self._plan.passes
        enough_s = passes * (self._start_s + VARIANT_S * variants)
        if self._longest_race_s:
            enough_s = max(enough_s, 2 * budget_s)
        raise NothingMeasured(
            f"--budget {budget_s:g}s ended before anything was measured: {variants} variants "
            f"in {passes} passes take about {enough_s:.0f} s for a case of up to 1024 keys; "
            f"give --budget {enough_s:.0f}s, or fewer variants or passes"
        )
