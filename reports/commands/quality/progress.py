"""Progress of `lengths` on stderr: what each model does, its loss, and the time that is left."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from reports.text.minutes import in_minutes
from reports.text.screen import is_dumb
from suite.quality.design import Design
from suite.quality.message import ModelTask, StepDone
from suite.quality.methods import METHOD_BY_NAME
from suite.quality.processes import ModelNews
from suite.quality.record import ModelFault, Quality, Training

NATS_PER_BIT = 0.6931471805599453
PLAIN_LINE_EVERY_S = 20.0


class Face(Protocol):
    """Shows a line of text that the next one replaces, and lines that stay."""

    def update(self, share: float, text: str) -> None:
        """Show how much is done and what is being done."""

    def keep(self, text: str) -> None:
        """Show a line that stays."""


class LengthsProgress:
    """Counts work in steps of training, a test as the third of one for as many tokens."""

    def __init__(self, face: Face, tasks: Sequence[ModelTask], bytes_per_token: float) -> None:
        """Begin the clock."""
        self._face, self._bytes_per_token = face, bytes_per_token
        self._total = sum(_work(task) for task in tasks)
        self._done = 0.0
        self._steps: dict[ModelTask, int] = {}
        self._start = time.monotonic()

    def hear(self, news: ModelNews) -> None:
        """Show what a model's process said."""
        task, message = news
        match message:
            case StepDone():
                self._count_steps(task, message)
                self._show(f"{_name(task)}: {self._words_of(task, message)}")
            case Training():
                self._steps.pop(task, None)
            case Quality():
                self._done += _tested_work(task.design)
                self._show(f"{_name(task)}: tested at {message.length}")
            case ModelFault():
                self._face.keep(f"{_name(task)}: {message.reason}")
            case None:
                self._face.keep(f"{_name(task)}: done")

    def _count_steps(self, task: ModelTask, step: StepDone) -> None:
        self._done += step.steps - self._steps.get(task, 0)
        self._steps[task] = step.steps

    def _words_of(self, task: ModelTask, step: StepDone) -> str:
        design = task.design
        steps = design.tuning_steps if step.tuned else design.steps
        bits = step.loss / NATS_PER_BIT / self._bytes_per_token
        doing = "tuning step" if step.tuned else "step"
        return f"{doing} {step.steps} of {steps}, loss {bits:.3f} bits per byte"

    def _show(self, text: str) -> None:
        share = min(1.0, self._done / self._total)
        left_s = (time.monotonic() - self._start) * (1 - share) / max(share, 1e-9)
        self._face.update(share, f"{in_minutes(left_s)} left, {text}")


def _work(task: ModelTask) -> float:
    """Return about what a task costs: the steps that it will learn, and its tests."""
    design = task.design
    learned = 0 if Path(task.weights_file).exists() else design.steps
    tuned = design.tuning_steps * sum(test.tuned for test in task.tests)
    return learned + tuned + len(task.tests) * len(design.lengths) * _tested_work(design)


def _tested_work(design: Design) -> float:
    return design.windows * design.lengths[-1] / (3 * design.batch * design.trained_len)


def _name(task: ModelTask) -> str:
    return f"{METHOD_BY_NAME[task.method].title}, seed {task.seed}"


class PlainFace:
    """Prints a line every 20 seconds, for logs and pipes."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def update(self, share: float, text: str) -> None:
        """Print a line if the last one is 20 seconds old."""
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PLAIN_LINE_EVERY_S
            self.keep(f"[{share:.0%}] {text}")

    def keep(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201


class LiveFace:
    """A bar and a line under it, for terminals."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(file=sys.stderr)
        self._bar = Progress(
            BarColumn(bar_width=24 if console.width >= 110 else 8),
            TextColumn("{task.percentage:.0f}% {task.description}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=1.0)
        self._bar.start()

    def update(self, share: float, text: str) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=share, description=text)

    def keep(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, highlight=False)

    def stop(self) -> None:
        """Remove the bar."""
        self._bar.stop()


@contextmanager
def face() -> Iterator[Face]:
    """Yield a live bar where stderr is a terminal that can show one, else plain lines."""
    if not sys.stderr.isatty() or is_dumb():
        yield PlainFace()
        return
    live = LiveFace()
    try:
        yield live
    finally:
        live.stop()
