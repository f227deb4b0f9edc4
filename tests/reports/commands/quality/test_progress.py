"""Progress of `lengths` counts all work once, and says loss and the time that is left."""

from pathlib import Path

import msgspec
import pytest

from reports.commands.quality.progress import LengthsProgress
from suite.quality.design import DEFAULT, LengthTest
from suite.quality.message import ModelTask, StepDone
from suite.quality.methods import METHOD_BY_NAME
from suite.quality.processes import ModelNews
from suite.quality.record import ModelFault, Quality, Training


class Recorder:
    """Notes what is shown."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.lines: list[str] = []

    def update(self, share: float, text: str) -> None:
        self.shares.append(share)
        self.lines.append(text)

    def keep(self, text: str) -> None:
        self.lines.append(text)


def task(name: str, tests: tuple[LengthTest, ...] | None = None) -> ModelTask:
    every = tuple(DEFAULT.tests(METHOD_BY_NAME[name]))
    return ModelTask(name, 1, DEFAULT, "text", "weights", tests or every, "cpu")


def play(progress: LengthsProgress, task: ModelTask, *, trains: bool = True) -> None:
    """Let a task say all that it says."""
    if trains:
        for steps in range(20, DEFAULT.steps + 1, 20):
            progress.hear(ModelNews(task, StepDone(steps, 4.0)))
        progress.hear(ModelNews(task, Training(task.method, 1, "none", False, (4.0,), 60.0, 100)))
    for test in task.tests:
        if test.tuned:
            for steps in (20, 40):
                progress.hear(ModelNews(task, StepDone(steps, 3.0, tuned=True)))
            progress.hear(ModelNews(task, Training(task.method, 1, *test, (3.0,), 9.0, 100)))
        for length in DEFAULT.lengths:
            progress.hear(
                ModelNews(task, Quality(task.method, 1, *test, length, (1.0,), (1.0,), 1.0))
            )
    progress.hear(ModelNews(task, None))


def test_all_work_of_two_models_is_the_whole_and_no_share_is_less_than_the_one_before() -> None:
    shown = Recorder()
    tasks = [task("alibi"), task("rope")]
    progress = LengthsProgress(shown, tasks, 2.5)
    for each in tasks:
        play(progress, each)
    assert shown.shares == sorted(shown.shares)
    assert shown.shares[-1] == pytest.approx(1.0)
    assert shown.lines[-1] == "RoPE, seed 1: done"


def test_a_step_shows_its_loss_in_bits_per_byte_and_the_time_left() -> None:
    shown = Recorder()
    LengthsProgress(shown, [task("alibi")], 2.5).hear(ModelNews(task("alibi"), StepDone(100, 4.0)))
    (line,) = shown.lines
    assert line.endswith("left, ALiBi, seed 1: step 100 of 500, loss 2.308 bits per byte")


def test_a_model_that_dies_is_named_and_stays() -> None:
    shown = Recorder()
    fault = ModelFault("alibi", 1, "killed by SIGKILL")
    LengthsProgress(shown, [task("alibi")], 2.5).hear(ModelNews(task("alibi"), fault))
    assert shown.lines == ["ALiBi, seed 1: killed by SIGKILL"]


def test_a_model_that_has_learned_and_has_one_test_left_is_less_work(tmp_path: Path) -> None:
    weights = tmp_path / "rope-1.pt"
    weights.touch()
    few = task("rope", (LengthTest("yarn", tuned=True),))
    few = msgspec.structs.replace(few, weights_file=str(weights))
    shown = Recorder()
    play(LengthsProgress(shown, [few], 2.5), few, trains=False)
    assert shown.shares[-1] == pytest.approx(1.0)
