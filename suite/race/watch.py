"""Who is shown a run's progress: a bar or lines on a terminal, or nobody."""

from collections.abc import Sequence
from typing import Protocol

from suite.cases.case import Case
from suite.records.record import CellOrPair


class Watch(Protocol):
    """Receives a run's progress and decides how to show it."""

    def begin(self, cells: int) -> None:
        """Receive the number of cells that will be measured."""

    def step(self, case: Case, variant: str, doing: str) -> None:
        """Receive the step that starts now, such as `first call`, and the cell it belongs to."""

    def note(self, text: str) -> None:
        """Receive what is to be known of the run, beside the cells that it ends."""

    def report(self, title: str, records: Sequence[CellOrPair], cells: int) -> None:
        """Receive the records of a race or a pair that is over, and how many cells it ended."""


class Silence:
    """A watch that shows nothing."""

    def begin(self, cells: int) -> None:
        """Show nothing."""

    def step(self, case: Case, variant: str, doing: str) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def report(self, title: str, records: Sequence[CellOrPair], cells: int) -> None:
        """Show nothing."""
