"""What a run tells whoever watches it."""

from collections.abc import Sequence
from typing import Protocol

from suite.cases.case import Case
from suite.records.record import Ended


class Watch(Protocol):
    """Receives a run's progress; draws nothing itself."""

    def begin(self, cells: int) -> None:
        """So many cells will be measured."""

    def step(self, case: Case, variant: str, doing: str) -> None:
        """This is being done now."""

    def raced(self, what: str, records: Sequence[Ended], cells: int) -> None:
        """A race or a pair is over: in words, its records, and how many cells ended with it."""


class Silence:
    """Watches and tells nobody."""

    def begin(self, cells: int) -> None:
        """Say nothing."""

    def step(self, case: Case, variant: str, doing: str) -> None:
        """Say nothing."""

    def raced(self, what: str, records: Sequence[Ended], cells: int) -> None:
        """Say nothing."""
