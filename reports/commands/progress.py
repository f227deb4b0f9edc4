"""Progress of a run on stderr: a live line in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reports.text.minutes import in_minutes
from reports.text.screen import is_dumb
from suite.cases.case import Case
from suite.race.watch import Watch
from suite.records.record import Agreement, CellOrPair, Fault


class _Pace:
    """How many cells are done since it was made, and the time for the others at that pace."""

    def __init__(self, cells: int) -> None:
        self.cells, self.done = cells, 0
        self._start = time.monotonic()

    def left(self) -> str:
        """Return that time, such as 2m05s, after the first cells are done."""
        elapsed = time.monotonic() - self._start
        return in_minutes(elapsed / self.done * (self.cells - self.done))


class PlainProgress:
    """Prints one line for each race, for logs and pipes."""

    def __init__(self) -> None:
        self._pace = _Pace(0)

    def begin(self, cells: int) -> None:
        """Print the number of cells to measure."""
        self._pace = _Pace(cells)
        _say(f"{cells} cells to measure")

    def step(self, case: Case, variant: str, doing: str) -> None:
        """Print nothing: a log would have too many lines."""

    def note(self, text: str) -> None:
        """Print a line."""
        _say(text)

    def report(self, title: str, records: Sequence[CellOrPair], cells: int) -> None:
        """Print the outcome of a race and the time that the rest may take."""
        self._pace.done += cells
        position = f"[{self._pace.done}/{self._pace.cells} cells, {self._pace.left()} left]"
        _say(f"{position} {title}: {outcome(records, cells)}")


class LiveProgress:
    """A bar with the cells done, the time left, the cell and the variant, for terminals.

    Where they don't all fit, the names of cell and variant are cut short.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(file=sys.stderr)
        whole = Column(no_wrap=True)
        self._progress = Progress(
            BarColumn(bar_width=24 if console.width >= 100 else 8, table_column=whole),
            MofNCompleteColumn(table_column=whole),
            TextColumn("cells{task.fields[left]}", table_column=whole),
            TextColumn(
                "{task.description}",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
            transient=True,
            expand=True,
        )
        self._task = self._progress.add_task("starting lanes", total=None, left="")
        self._pace = _Pace(0)

    def begin(self, cells: int) -> None:
        """Show the bar."""
        self._pace = _Pace(cells)
        self._progress.update(self._task, total=cells, completed=0)
        self._progress.start()

    def step(self, case: Case, variant: str, doing: str) -> None:
        """Show the cell, the variant and its step."""
        self._progress.update(self._task, description=f"{case.id} {variant}: {doing}")

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def report(self, title: str, records: Sequence[CellOrPair], cells: int) -> None:
        """Move the bar; print a line that stays for a race with a failure."""
        self._pace.done += cells
        self._progress.update(self._task, advance=cells, left=f", {self._pace.left()} left")
        if any(isinstance(record, Fault | Agreement) and _is_failure(record) for record in records):
            self._progress.console.print(f"{title}: {outcome(records, cells)}", highlight=False)

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()


@contextmanager
def progress() -> Iterator[Watch]:
    """Yield a live bar where stderr is a terminal that can show one, else plain lines."""
    if not sys.stderr.isatty() or is_dumb():
        yield PlainProgress()
        return
    live = LiveProgress()
    try:
        yield live
    finally:
        live.stop()


def outcome(records: Sequence[CellOrPair], cells: int) -> str:
    """Return in a few words how many cells were measured, and which variants failed how."""
    failures = {
        record.variant: record.status if isinstance(record, Fault) else "disagrees"
        for record in records
        if isinstance(record, Fault | Agreement) and _is_failure(record)
    }
    parts = [
        f"{cells - len(failures)} measured",
        *(f"{name} {status}" for name, status in failures.items()),
    ]
    return ", ".join(parts)


def _is_failure(record: Fault | Agreement) -> bool:
    return isinstance(record, Fault) or not record.agrees


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
