"""What a clock times: calls, one after another, and what is done with each result untimed."""

from collections.abc import Callable
from typing import Any, Protocol


class Workload(Protocol):
    """Calls to time. `next` gives the next one, and each result is inspected outside of timing."""

    def __next__(self) -> Callable[[], Any]:
        """Return the next call."""

    def inspect(self, results: Any) -> None:
        """Look at what the last call returned."""


class RepeatedCall:
    """One call, again and again; by default nobody looks at its results."""

    def __init__(
        self, call: Callable[[], Any], inspect: Callable[[Any], None] | None = None
    ) -> None:
        self._call = call
        self._inspect = inspect

    def __next__(self) -> Callable[[], Any]:
        """Return the call."""
        return self._call

    def inspect(self, results: Any) -> None:
        """Hand on what the call returned."""
        if self._inspect is not None:
            self._inspect(results)
