"""What a run tells whoever watches it."""

from collections.abc import Sequence
from typing import Protocol

from suite.case import Case
from suite.record import CellRecord


class Watch(Protocol):
    """Receives a run's progress; draws nothing itself."""

    def begin(self, cells: int) -> None:
        """So many cells will be measured."""

    def step(self, case: Case, variant: str, doing: str) -> None:
        """This is being done now."""

    def raced(
        self, case: Case, pass_number: int, records: Sequence[CellRecord], cells: int
    ) -> None:
        """A case's race is over: its records, and how many cells came to their end with it."""


class Silence:
    """Watches and tells nobody."""

    def begin(self, cells: int) -> None:
        """Say nothing."""

    def step(self, case: Case, variant: str, doing: str) -> None:
        """Say nothing."""

    def raced(
        self, case: Case, pass_number: int, records: Sequence[CellRecord], cells: int
    ) -> None:
        """Say nothing."""
