"""An arena whose lanes are threads that compute nothing."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.fakes.arena import Arena
from tests.fakes.in_process import start_invented_lanes_in_process
from tests.fakes.lane import Paces, PlannedFault


class MakeArena(Protocol):
    """Makes an arena whose lanes have these faults and paces; the rest is what `Arena` takes."""

    def __call__(
        self, faults: Iterable[PlannedFault] = (), paces: Paces | None = None, **rest: Any
    ) -> Arena:
        """Return the arena."""


@pytest.fixture
def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeArena]:
    """Return a function that makes the test's arena."""
    with ExitStack() as stack:

        def make(
            faults: Iterable[PlannedFault] = (), paces: Paces | None = None, **rest: Any
        ) -> Arena:
            start_invented_lanes_in_process(monkeypatch, faults, paces)
            return Arena(stack, tmp_path / "pairs.jsonl", **rest)

        yield make
